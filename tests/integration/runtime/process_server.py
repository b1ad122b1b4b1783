"""A server without services, for the tests of `run`: `python process_server.py MODE [flags]`."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from servers.runtime.component import Component, Context, Registration
from servers.runtime.server import run
from servers.runtime.settings import ServerSettings
from servers.runtime.sources import WrongSettings

MODE = sys.argv.pop(1)


class Quiet:
    """Serves nothing; fails when told so."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def registrations(self) -> list[Registration]:
        return []

    async def start(self) -> None:
        if MODE == "cannot-start":
            raise OSError("no such journal")
        if MODE == "slow-start":
            sys.stdout.write("starting\n")
            sys.stdout.flush()
            await asyncio.sleep(60)
        if MODE == "fails":
            asyncio.get_running_loop().call_soon(self._context.fail, OSError("sync failed"))

    async def stop(self) -> None:
        sys.stdout.write("component stopped\n")
        sys.stdout.flush()
        if MODE == "hangs":
            await asyncio.Event().wait()


async def build_later(settings: ServerSettings, context: Context) -> Component:
    return Quiet(context)


def build(settings: ServerSettings, context: Context) -> Component:
    if MODE == "wrong-file":
        raise WrongSettings("limits.toml: line 3: no such limit")
    if MODE == "cannot-build":
        raise OSError("no such library")
    return Quiet(context)


if __name__ == "__main__":
    run("quiet", ServerSettings, build_later if MODE == "later" else build)
