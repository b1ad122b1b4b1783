"""The environment of the libraries that we are compared with: `.venv-peers`, versions pinned.

It is made on first use. Peers run in a process of their own, so that their dependencies never meet ours.
The process answers every line that it gets with one line of JSON, so that a benchmark interleaves its rounds
with theirs.
"""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

FOLDER = Path(__file__).resolve().parent.parent / ".venv-peers"
REQUIREMENTS = ("numpy==2.4.6", "TA-Lib==0.8.2", "pandas==3.1.1", "polars==2.1.0")
BACKTEST_FOLDER = FOLDER.with_name(".venv-peers-backtest")
"""Of its own: the backtesting peers hold numpy and pandas at other versions."""

BACKTEST_REQUIREMENTS = ("nautilus_trader==1.221.0", "hftbacktest==2.4.4", "numba==0.68.1", "numpy==2.2.6")
INSTALL_TIMEOUT_SECONDS = 600


class PeersUnavailableError(Exception):
    """The peers' environment cannot be made or its process does not answer; the text says why."""


def ensure_environment(
    progress: Callable[[str], None], folder: Path = FOLDER, requirements: Sequence[str] = REQUIREMENTS
) -> Path:
    """Return the interpreter of the peers' environment; make it, saying so, unless it is as pinned."""
    python = folder / "bin" / "python"
    stamp = folder / "requirements.txt"
    wanted = "\n".join(requirements) + "\n"
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    progress(f"making {folder.name} with the peers ({', '.join(requirements)}); --no-peers skips this")
    try:
        venv.create(folder, with_pip=True, symlinks=True, clear=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements],
            check=True,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        output = error.stderr or ""
        lines = (output.decode() if isinstance(output, bytes) else output).strip().splitlines()
        raise PeersUnavailableError(lines[-1] if lines else str(error)) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeersUnavailableError(str(error)) from error
    stamp.write_text(wanted)
    return python


class PeerProcess:
    """A script that runs in the peers' environment, on one thread; it answers every `measure()`."""

    def __init__(self, python: Path, script: Path, *arguments: str) -> None:
        one_thread = dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [str(python), str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            text=True,
            env={**os.environ, **one_thread},
        )

    def measure(self) -> dict[str, float]:
        """Return the CPU seconds of every case in one more round; raise PeersUnavailableError if it died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write("round\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeersUnavailableError(f"the peers' process ended with {self._process.wait(timeout=10)}")
        answer: dict[str, float] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the process end: its input is closed, and it is stopped when that does not help."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
