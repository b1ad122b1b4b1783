"""The compiled hot path: one concept per module, int64 nanos, kernels that release the interpreter lock.

`TAPELINE_NATIVE=debug` chooses the debug build (bounds checks, line tracing) that lies in `build/debug`.
"""

import os
from pathlib import Path

_build = os.environ.get("TAPELINE_NATIVE", "release")
if _build not in ("release", "debug"):
    raise ImportError(f"TAPELINE_NATIVE must be release or debug, not {_build!r}")
if _build == "debug":
    _debug_build = Path(__file__).resolve().parent.parent / "build" / "debug" / "native"
    if not _debug_build.is_dir():
        raise ImportError(f"TAPELINE_NATIVE=debug, but there is no debug build in {_debug_build}")
    __path__.insert(0, str(_debug_build))
