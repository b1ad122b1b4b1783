"""The kill switches as those who obey them know them."""

from __future__ import annotations

from typing import NamedTuple


class KillSwitches(NamedTuple):
    """Accounts whose kill switch is on; `everywhere` when that of all accounts is."""

    everywhere: bool = False
    accounts: frozenset[str] = frozenset()

    def stop(self, account: str) -> bool:
        """Return whether `account` may not trade."""
        return self.everywhere or account in self.accounts
