"""A server with all four kinds of call, started in process, and a second one that calls it."""

import asyncio
import importlib
import io
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_tools import protoc

from servers.local.free_ports import free_ports
from servers.model.errors import NotFound
from servers.runtime.call import current_call
from servers.runtime.channels import Channels
from servers.runtime.component import Context, Registration
from servers.runtime.logs import make_log
from servers.runtime.metrics import CallCollector
from servers.runtime.running import RunningServer
from servers.runtime.server import make_context, start_server
from servers.runtime.settings import ServerSettings
from servers.runtime.tracing import Tracer

ROLES = {
    "Echo": frozenset(("trader",)),
    "GetEcho": frozenset(("*",)),
    "Repeat": frozenset(("trader", "reader")),
    "Join": frozenset(("trader",)),
    "Chat": frozenset(("trader",)),
}


@pytest.fixture(scope="session")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The generated modules: `echo.pb2` and `echo.grpc`."""
    folder = tmp_path_factory.mktemp("stubs")
    here = Path(__file__).parent
    code = protoc.main(
        ["protoc", f"-I{here}", f"--python_out={folder}", f"--grpc_python_out={folder}", "echo.proto"]
    )
    assert code == 0
    sys.path.insert(0, str(folder))
    try:
        pb2, stubs = importlib.import_module("echo_pb2"), importlib.import_module("echo_pb2_grpc")
    finally:
        sys.path.remove(str(folder))

    class Modules:
        Request = pb2.EchoRequest
        Response = pb2.EchoResponse
        Stub = stubs.EchoServiceStub
        add = staticmethod(stubs.add_EchoServiceServicer_to_server)
        Servicer = stubs.EchoServiceServicer

    return Modules


class EchoComponent:
    """Answers what it is asked; `act` may replace what happens before an answer."""

    def __init__(self, echo: Any) -> None:
        self.echo = echo
        self.started = asyncio.Event()
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.stopped = False
        self.closed_streams = 0
        self.calls: list[str] = []
        self.act: Callable[[Any], Awaitable[None]] | None = None

    def registrations(self) -> Sequence[Registration]:
        return [Registration(self.echo.add, self, ROLES, exempt=frozenset(("Cancel",)))]

    async def start(self) -> None:
        self.started.set()
        await self.may_start.wait()

    async def stop(self) -> None:
        self.stopped = True

    async def _answer(self, request: Any) -> Any:
        call = current_call()
        assert call is not None
        self.calls.append(call.method.rpartition("/")[2])
        if self.act is not None:
            await self.act(request)
        if request.text == "missing":
            raise NotFound("ORDER_NOT_FOUND", "no order 7", order_id=7)
        if request.text == "bug":
            raise ZeroDivisionError("secret detail")
        if request.text == "wait":
            self.entered.set()
            await self.release.wait()
        return self.echo.Response(text=request.text * max(1, request.count))

    async def Echo(self, request: Any, context: Any) -> Any:
        if request.text == "abort":
            await context.abort(grpc.StatusCode.DATA_LOSS, "as grpc does it")
        return await self._answer(request)

    async def GetEcho(self, request: Any, context: Any) -> Any:
        return await self._answer(request)

    def Cancel(self, request: Any, context: Any) -> Any:
        return self.echo.Response(text="cancelled " + request.text)

    async def Repeat(self, request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            for _ in range(request.count):
                yield await self._answer(request)
            if request.text == "endless":
                self.entered.set()
                await self.release.wait()
        finally:
            self.closed_streams += 1

    async def Join(self, requests: AsyncIterator[Any], context: Any) -> Any:
        return self.echo.Response(text=" ".join([request.text async for request in requests]))

    async def Chat(self, requests: AsyncIterator[Any], context: Any) -> None:
        async for request in requests:
            await context.write(await self._answer(request))


class Harness:
    """Starts servers and clients, and stops them all at the end of a test."""

    def __init__(self, echo: Any, stack: AsyncExitStack) -> None:
        self.echo = echo
        self.log = io.StringIO()
        self._stack = stack

    def component(self) -> EchoComponent:
        """Return a component that is not served yet."""
        return EchoComponent(self.echo)

    async def context(self, name: str, settings: ServerSettings) -> Context:
        """Return a context that logs into `self.log`."""
        context = await make_context(name, settings)
        context.telemetry.log = make_log(name, "json", "debug", self.log)
        return context

    async def serve(
        self, component: Any = None, *, context: Context | None = None, **settings: Any
    ) -> tuple[RunningServer, Any]:
        """Start a server on free ports; it is stopped at the end."""
        given = ServerSettings(**{"drain_notice_seconds": 0.0, **settings})
        made = component or self.component()
        running = await start_server(given, context or await self.context("echo", given), made)
        self._stack.push_async_callback(running.stop)
        return running, made

    def channels(self, tracer: Tracer | None = None, **arguments: Any) -> Channels:
        """Return the client side of a peer; closed at the end."""
        peers = arguments.pop("peers")
        channels = Channels(peers, tracer=tracer or Tracer(), calls=CallCollector(), **arguments)
        self._stack.push_async_callback(channels.close)
        return channels

    def stub(self, running: RunningServer, tracer: Tracer | None = None, **arguments: Any) -> Any:
        """Return an echo stub that calls `running`."""
        channels = self.channels(tracer, peers={"echo": running.address}, **arguments)
        return self.echo.Stub(channels.channel("echo"))

    def log_lines(self) -> list[dict[str, Any]]:
        """Return what has been logged."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@pytest.fixture
async def harness(echo: Any) -> AsyncIterator[Harness]:
    async with AsyncExitStack() as stack:
        yield Harness(echo, stack)


@pytest.fixture
def free_port() -> int:
    """A port that no other process takes."""
    return free_ports(1)[0]


async def eventually(holds: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until `holds()` is true; fail after `seconds`."""
    ends = asyncio.get_running_loop().time() + seconds
    while not holds():
        assert asyncio.get_running_loop().time() < ends, "it never came about"
        await asyncio.sleep(0.01)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., Awaitable[None]]:
    return eventually
