"""Order and message rates and duplicates of all accounts."""

from __future__ import annotations

from servers.model.nanos import nanos_to_text
from servers.model.order import OrderTerms, Rejection
from servers.risk.controls import Change, Controls
from servers.risk.domain.checks import reject
from servers.risk.domain.limits import Limits
from servers.risk.domain.rates import DuplicateWindow, TokenBucket

MOST_SETS = 100_000
"""Accounts and symbols whose buckets are looked up at once; more are looked up anew."""

_Buckets = tuple[tuple[str, TokenBucket], ...]


class RateLimits:
    """Token buckets by account and by symbol, made from the limits and anew when these change."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._buckets: dict[tuple[str, str, str], TokenBucket] = {}
        self._sets: dict[tuple[str, str], tuple[_Buckets, _Buckets]] = {}
        self._duplicates: dict[str, DuplicateWindow] = {}
        controls.listen(self._forget)

    def take_order(self, account: str, symbol: str, now_nanos: int) -> Rejection | None:
        """Count a new order, or refuse it when either of its rates is used up."""
        return self._take(account, symbol, now_nanos, is_order=True)

    def take_message(self, account: str, symbol: str, now_nanos: int) -> Rejection | None:
        """Count a replace, or refuse it when its rate is used up."""
        return self._take(account, symbol, now_nanos, is_order=False)

    def count_cancel(self, account: str, symbol: str, now_nanos: int) -> None:
        """Count a cancel: it always passes, and takes from what others may send."""
        for _, bucket in self._buckets_of(account, symbol, now_nanos)[1]:
            bucket.has_one(now_nanos)
            bucket.take()

    def check_duplicate(
        self, account: str, terms: OrderTerms, now_nanos: int, window_nanos: int
    ) -> Rejection | None:
        """Refuse an order whose content was let through within the window."""
        window = self._duplicates.get(account)
        seen_at_nanos = 0 if window is None else window.seen_at(terms)
        if not seen_at_nanos or now_nanos - seen_at_nanos > window_nanos:
            return None
        return reject(
            "DUPLICATE_ORDER",
            "",
            "duplicate_window_seconds",
            f"{nanos_to_text(now_nanos - seen_at_nanos)} s",
            f"{nanos_to_text(window_nanos)} s",
        )

    def remember(self, account: str, terms: OrderTerms, now_nanos: int, window_nanos: int) -> None:
        """Remember an order that was let through."""
        self._duplicates.setdefault(account, DuplicateWindow()).add(terms, now_nanos, window_nanos)

    def _take(self, account: str, symbol: str, now_nanos: int, *, is_order: bool) -> Rejection | None:
        buckets = self._buckets_of(account, symbol, now_nanos)[0 if is_order else 1]
        for name, bucket in buckets:
            if not bucket.has_one(now_nanos):
                return reject(
                    f"{name}_RATE_ABOVE_LIMIT",
                    "",
                    f"max_{name.lower()}s_per_second",
                    f"above {bucket.per_second:g} per second",
                    f"{bucket.per_second:g} per second",
                )
        for _, bucket in buckets:
            bucket.take()
        return None

    def _buckets_of(self, account: str, symbol: str, now_nanos: int) -> tuple[_Buckets, _Buckets]:
        """Return what a new order takes from, and what any message takes from."""
        found = self._sets.get((account, symbol))
        if found is None:
            orders: list[tuple[str, TokenBucket]] = []
            messages: list[tuple[str, TokenBucket]] = []
            for key in ((account, ""), (account, symbol)):
                limits = self._controls.limits.get(key)
                if limits is not None and limits.max_orders_per_second is not None:
                    orders.append(("ORDER", self._bucket("ORDER", limits, now_nanos)))
                if limits is not None and limits.max_messages_per_second is not None:
                    messages.append(("MESSAGE", self._bucket("MESSAGE", limits, now_nanos)))
            if len(self._sets) >= MOST_SETS:
                self._sets.clear()
            found = self._sets[account, symbol] = ((*orders, *messages), tuple(messages))
        return found

    def _bucket(self, name: str, limits: Limits, now_nanos: int) -> TokenBucket:
        """Return the bucket of these limits, the same one for every symbol of the account."""
        key = (name, *limits.key)
        bucket = self._buckets.get(key)
        if bucket is None:
            rate = limits.max_orders_per_second if name == "ORDER" else limits.max_messages_per_second
            bucket = self._buckets[key] = TokenBucket(rate or 0.0, now_nanos)
        return bucket

    def _forget(self, change: Change) -> None:
        if isinstance(change, Limits):
            self._buckets.pop(("ORDER", *change.key), None)
            self._buckets.pop(("MESSAGE", *change.key), None)
            self._sets.clear()
