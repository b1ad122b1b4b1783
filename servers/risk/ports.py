"""What risk needs from outside: a durable place for its controls and snapshots, and price history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from servers.risk.domain.limits import KillSwitch, Limits


class ControlJournal(Protocol):
    """Keeps limits and kill switches; each change is durable when the call returns."""

    async def load(self) -> tuple[Sequence[Limits], Sequence[KillSwitch]]:
        """Return every change of limits and kill switches, oldest first."""
        ...

    def first_limits(self, request_id: str, limits: Limits) -> Limits | None:
        """Return the first answer to an id; raises AlreadyExists REQUEST_ID_REUSED for other content."""
        ...

    def first_kill_switch(self, request_id: str, switch: KillSwitch) -> KillSwitch | None:
        """Return the first answer to an id; raises AlreadyExists REQUEST_ID_REUSED for other content."""
        ...

    async def save_limits(self, request_id: str, limits: Limits) -> int:
        """Store limits and return their sequence."""
        ...

    async def save_kill_switch(self, request_id: str, switch: KillSwitch) -> int:
        """Store a kill switch and return its sequence."""
        ...


class SnapshotStore(Protocol):
    """Keeps the books, with the sequences that they reflect, in one transaction."""

    def load_books(self) -> bytes | None:
        """Return what was saved last."""
        ...

    async def save_books(self, payload: bytes, positions: Mapping[str, int]) -> None:
        """Replace what was saved last."""
        ...


class PriceHistory(Protocol):
    """Daily closes from their owner."""

    async def daily_closes(self, symbol: str) -> Mapping[int, float]:
        """Return session -> close in currency units, oldest first; empty without history."""
        ...
