"""Order and message rates and duplicates of all accounts."""

from __future__ import annotations

from servers.model.nanos import nanos_to_text
from servers.model.order import OrderTerms, Rejection
from servers.risk.controls import Change, Controls
from servers.risk.domain.checks import reject
from servers.risk.domain.limits import Limits
from servers.risk.domain.rates import DuplicateWindow, TokenBucket


class RateLimits:
    """Token buckets by account and by symbol, made from the limits and anew when these change."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._buckets: dict[tuple[str, str], tuple[TokenBucket | None, TokenBucket | None]] = {}
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
        for key in ((account, ""), (account, symbol)):
            messages = self._pair(key, now_nanos)[1]
            if messages is not None:
                messages.has_one(now_nanos)
                messages.take()

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
        counted: list[TokenBucket] = []
        for key in ((account, ""), (account, symbol)):
            orders, messages = self._pair(key, now_nanos)
            for bucket, name, applies in (
                (orders, "ORDER", is_order),
                (messages, "MESSAGE", True),
            ):
                if bucket is None or not applies:
                    continue
                if not bucket.has_one(now_nanos):
                    return reject(
                        f"{name}_RATE_ABOVE_LIMIT",
                        "",
                        f"max_{name.lower()}s_per_second",
                        f"above {bucket.per_second:g} per second",
                        f"{bucket.per_second:g} per second",
                    )
                counted.append(bucket)
        for bucket in counted:
            bucket.take()
        return None

    def _pair(self, key: tuple[str, str], now_nanos: int) -> tuple[TokenBucket | None, TokenBucket | None]:
        pair = self._buckets.get(key)
        if pair is None:
            limits = self._controls.limits.get(key)
            pair = self._buckets[key] = (
                _bucket(None if limits is None else limits.max_orders_per_second, now_nanos),
                _bucket(None if limits is None else limits.max_messages_per_second, now_nanos),
            )
        return pair

    def _forget(self, change: Change) -> None:
        if isinstance(change, Limits):
            self._buckets.pop(change.key, None)


def _bucket(per_second: float | None, now_nanos: int) -> TokenBucket | None:
    return None if per_second is None else TokenBucket(per_second, now_nanos)
