"""Ends a server's process inside a commit, a send or a report: put this folder on PYTHONPATH.

The test writes `CRASH_PLAN` (JSON: server, point, after). The process of that server counts how often it
comes to the point, and at the `after`-th time removes the plan and ends itself with SIGKILL.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

PLAN = os.environ.get("CRASH_PLAN", "")


COUNTS: Counter[float] = Counter()


def die_at(point: str) -> None:
    try:
        plan = json.loads(Path(PLAN).read_text())
    except (OSError, ValueError):
        return
    if plan["server"] != SERVER or plan["point"] != point:
        return
    key = plan["id"]
    COUNTS[key] += 1
    if COUNTS[key] >= plan["after"]:
        Path(PLAN).unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def around(owner: type, name: str, before: str, after: str) -> None:
    method = getattr(owner, name)

    @functools.wraps(method)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        die_at(before)
        result = method(*arguments, **named)
        die_at(after)
        return result

    setattr(owner, name, wrapped)


def after_await(owner: type, name: str, point: str) -> None:
    method = getattr(owner, name)

    @functools.wraps(method)
    async def wrapped(*arguments: Any, **named: Any) -> Any:
        result = await method(*arguments, **named)
        die_at(point)
        return result

    setattr(owner, name, wrapped)


def before_each(owner: type, name: str, point: str) -> None:
    method = getattr(owner, name)

    @functools.wraps(method)
    async def wrapped(*arguments: Any, **named: Any) -> Any:
        async for item in method(*arguments, **named):
            die_at(point)
            yield item

    setattr(owner, name, wrapped)


argv = sys.orig_argv
SERVER = argv[argv.index("-m") + 1].removeprefix("servers.") if "-m" in argv else ""
if PLAN and SERVER in ("orders", "execution", "exchange", "risk", "portfolio", "decision"):
    from servers.journal.sqlite import SqliteStore

    # Before: the transaction is open and its rows are written; after: synced, and nobody was told.
    around(SqliteStore, "commit", before="commit", after="committed")
    if SERVER == "orders":
        from servers.orders.adapters.exchange import ExchangeVenue

        after_await(ExchangeVenue, "submit", "send")
        before_each(ExchangeVenue, "reports", "report")
    if SERVER == "execution":
        from servers.execution.adapters.orders import GrpcOrders

        after_await(GrpcOrders, "submit", "send")
    if SERVER == "decision":
        from servers.decision.adapters.execution import GrpcExecutions

        after_await(GrpcExecutions, "start", "send")
