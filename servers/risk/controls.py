"""Limits and kill switches in force, and who is told when they change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from servers.risk.domain.limits import EffectiveLimits, KillSwitch, Limits, effective

Change = Limits | KillSwitch


class Controls:
    """What was set, over what the limits file states; the stricter of account and symbol, ready made."""

    def __init__(self, defaults: Iterable[Limits] = ()) -> None:
        self.limits: dict[tuple[str, str], Limits] = {limits.key: limits for limits in defaults}
        self.switches: dict[str, KillSwitch] = {}
        self.sequence = 0
        self._effective: dict[tuple[str, str], EffectiveLimits | None] = {}
        self._listeners: list[Callable[[Change], None]] = []

    def effective(self, account: str, symbol: str) -> EffectiveLimits | None:
        """Return the limits of one check; None when the account has none and nothing is permitted."""
        key = (account, symbol)
        try:
            return self._effective[key]
        except KeyError:
            own = self.limits.get((account, ""))
            made = None if own is None else effective(own, self.limits.get(key))
            if len(self._effective) > 100_000:
                self._effective.clear()
            self._effective[key] = made
            return made

    def stopping(self, account: str) -> KillSwitch | None:
        """Return the kill switch that stops an account, its own or that of all."""
        for name in ("", account):
            switch = self.switches.get(name)
            if switch is not None and switch.is_on:
                return switch
        return None

    def set_limits(self, limits: Limits, sequence: int = 0) -> None:
        """Put limits in force."""
        self.limits[limits.key] = limits
        self._effective.clear()
        self._tell(limits, sequence)

    def set_kill_switch(self, switch: KillSwitch, sequence: int = 0) -> None:
        """Put a kill switch in force."""
        self.switches[switch.account] = switch
        self._tell(switch, sequence)

    def page(self, account: str, after: tuple[str, str], count: int) -> list[Limits]:
        """Return limits by account and symbol, after a key."""
        keys = sorted(key for key in self.limits if key > after and account in ("", key[0]))
        return [self.limits[key] for key in keys[:count]]

    def listen(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call `listener` with every change; return how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def wait_for_limits(self, timeout_seconds: float) -> None:
        """Return when limits have changed, or after a while."""
        changed = asyncio.Event()

        def note(change: Change) -> None:
            if isinstance(change, Limits):
                changed.set()

        stop = self.listen(note)
        try:
            async with asyncio.timeout(timeout_seconds):
                await changed.wait()
        except TimeoutError:
            return
        finally:
            stop()

    def _tell(self, change: Change, sequence: int) -> None:
        self.sequence = max(self.sequence, sequence)
        for listener in list(self._listeners):
            listener(change)
