# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""What an execution cost: slippage against a benchmark, and Perold's shortfall split exactly.

Prices, quantities and times are int64 nanos; side is +1 for a buy and -1 for a sell; a positive figure is a cost.
Sums run in integers of 128 bits and leave as Python ints in units of 1e-18 currency, so that the parts of a shortfall
add up to the last unit. Source of the split: Perold, "The Implementation Shortfall", 1988. Plain-Python twin:
tests/native/twins.py.
"""
from typing import NamedTuple

from native._checks cimport check_same_length, check_sizes, check_times
from native._types cimport nanos_t
from native._wide cimport add_to, product, wide_t, wide_to_int


class Average(NamedTuple):
    """A volume-weighted average over prints: exact sums and how many prints they hold."""

    notional_e18: int
    quantity_nanos: int
    print_count: int

    @property
    def price_nanos(self):
        """The average, rounded half-even to nanos; None when nothing traded."""
        return round_half_even(self.notional_e18, self.quantity_nanos) if self.quantity_nanos else None

    @property
    def price(self):
        """The average in price units, correctly rounded; NaN when nothing traded."""
        if not self.quantity_nanos:
            return float("nan")
        return self.notional_e18 / (self.quantity_nanos * 1_000_000_000)


class Shortfall(NamedTuple):
    """The parts of an execution's cost in units of 1e-18 currency. They add up to `total_e18` exactly."""

    delay_e18: int
    spread_e18: int
    impact_e18: int
    timing_e18: int
    opportunity_e18: int
    fees_e18: int

    @property
    def total_e18(self):
        """The whole shortfall against the decision price."""
        return sum(self)


def round_half_even(numerator, denominator):
    """Return the integer nearest to numerator / denominator, halves to even. The denominator is above zero."""
    whole, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and whole % 2):
        whole += 1
    return whole


def slippage_bps(side, double average_price, double benchmark_price):
    """Return side * (average - benchmark) / benchmark * 10,000: positive is a cost.

    Both prices are in the same unit. Raises ValueError for a side that is neither 1 nor -1, or a benchmark that is
    not above zero.
    """
    check_side(side)
    if not benchmark_price > 0:
        raise ValueError(f"benchmark_price must be above zero, not {benchmark_price}")
    return <double>side * (average_price - benchmark_price) / benchmark_price * 1e4


def tracking_error_bps(average_price, vwap):
    """Return |slippage against VWAP| in basis points: a distance, never a saving."""
    return abs(slippage_bps(1, average_price, vwap))


def average_price(const nanos_t[::1] prices, const nanos_t[::1] sizes):
    """Return the exact volume-weighted average of all prints, as own fills or a whole tape.

    Raises ValueError when lengths differ or a size is negative.
    """
    check_same_length(prices.shape[0], sizes.shape[0], "prices", "sizes")
    check_sizes(sizes)
    return average_of(prices, sizes, 0, prices.shape[0])


def interval_vwap(
    const nanos_t[::1] prices, const nanos_t[::1] sizes, const nanos_t[::1] times, nanos_t start, nanos_t end
):
    """Return the exact VWAP of the prints with start <= time <= end.

    Raises ValueError when lengths differ, a size is negative, or times are not in order.
    """
    check_tape(prices, sizes, times)
    first, last = first_at(times, start), first_after(times, end)
    return average_of(prices, sizes, first, max(first, last))


def interval_twap(const nanos_t[::1] prices, const nanos_t[::1] times, nanos_t start, nanos_t end):
    """Return the average of the last price over market time from start to end, in price units.

    The price in force at `start` is that of the last print at or before it, else of the first after it. NaN when
    there is no print up to `end`. At start == end it is the price in force. Raises ValueError when lengths differ,
    times are not in order, or `end` is before `start`.
    """
    cdef Py_ssize_t i, first, last
    cdef nanos_t since = start
    cdef wide_t weighted = <wide_t>0
    cdef int overflow = 0
    check_same_length(prices.shape[0], times.shape[0], "prices", "times")
    check_times(times, times[0] if times.shape[0] else 0)
    if end < start:
        raise ValueError(f"end {end} is before start {start}")
    last = first_after(times, end)
    if last == 0:
        return float("nan")
    first = max(first_after(times, start), 1)
    if start == end:
        return prices[first - 1] / 1e9
    for i in range(first, last):
        overflow |= add_to(&weighted, product(prices[i - 1], times[i] - since))
        since = times[i]
    overflow |= add_to(&weighted, product(prices[last - 1], end - since))
    if overflow:
        raise OverflowError("the sum of price times duration does not fit into 128 bits")
    return wide_to_int(weighted) / ((<object>end - start) * 1_000_000_000)


def participation_weighted_price(
    const nanos_t[::1] prices,
    const nanos_t[::1] sizes,
    const nanos_t[::1] times,
    nanos_t start,
    nanos_t quantity,
    double participation,
):
    """Return PWP(p): the exact VWAP of the first quantity / p of volume at or after `start`.

    The print that completes the volume counts in part. When less than that traded, all of it counts: compare
    `quantity_nanos`. Raises ValueError as `interval_vwap`, and unless 0 < p <= 1 and quantity > 0.
    """
    cdef Py_ssize_t i, first, count = 0
    cdef wide_t wanted, left, notional = <wide_t>0
    cdef nanos_t part
    cdef int overflow = 0
    check_tape(prices, sizes, times)
    if not 0 < participation <= 1:
        raise ValueError(f"participation must lie above 0, up to 1, not {participation}")
    if quantity <= 0:
        raise ValueError(f"quantity must be above zero, not {quantity}")
    # To a billionth, as everywhere; rounded down to whole nanos of quantity.
    wanted = product(quantity, 1_000_000_000) // <wide_t>max(<nanos_t>(participation * 1e9 + 0.5), <nanos_t>1)
    left = wanted
    first = first_at(times, start)
    for i in range(first, times.shape[0]):
        if left <= <wide_t>0:
            break
        part = sizes[i] if <wide_t>sizes[i] <= left else <nanos_t>left
        overflow |= add_to(&notional, product(prices[i], part))
        left -= <wide_t>part
        count += 1
    if overflow:
        raise OverflowError("the notional does not fit into 128 bits")
    return Average(wide_to_int(notional), wide_to_int(wanted - left), count)


def shortfall(
    side,
    quantity_nanos,
    decision_price_nanos,
    arrival_price_nanos,
    close_price_nanos,
    const nanos_t[::1] fill_prices,
    const nanos_t[::1] fill_sizes,
    const nanos_t[::1] mids_when_sent,
    *,
    impact_e18=0,
    fees_e18=0,
):
    """Return the shortfall of an execution against its decision price, split as docs/definitions.md says.

    `impact_e18` is the model's estimate; timing is what the market moved beyond it. The opportunity cost of what
    was not filled runs to the close. Raises ValueError when lengths differ, a size is negative, the side is neither
    1 nor -1, or more was filled than ordered.
    """
    check_side(side)
    check_same_length(fill_prices.shape[0], fill_sizes.shape[0], "fill_prices", "fill_sizes")
    check_same_length(fill_prices.shape[0], mids_when_sent.shape[0], "fill_prices", "mids_when_sent")
    check_sizes(fill_sizes)
    paid = average_of(fill_prices, fill_sizes, 0, fill_sizes.shape[0])
    at_mid = average_of(mids_when_sent, fill_sizes, 0, fill_sizes.shape[0])
    filled = paid.quantity_nanos
    if filled > quantity_nanos:
        raise ValueError(f"filled {filled} of {quantity_nanos} ordered")
    return Shortfall(
        delay_e18=side * filled * (arrival_price_nanos - decision_price_nanos),
        spread_e18=side * (paid.notional_e18 - at_mid.notional_e18),
        impact_e18=impact_e18,
        timing_e18=side * (at_mid.notional_e18 - filled * arrival_price_nanos) - impact_e18,
        opportunity_e18=side * (quantity_nanos - filled) * (close_price_nanos - decision_price_nanos),
        fees_e18=fees_e18,
    )


cdef int check_side(side) except -1:
    if side != 1 and side != -1:
        raise ValueError(f"side must be 1 (buy) or -1 (sell), not {side}")
    return 0


cdef int check_tape(
    const nanos_t[::1] prices, const nanos_t[::1] sizes, const nanos_t[::1] times
) except -1:
    check_same_length(prices.shape[0], sizes.shape[0], "prices", "sizes")
    check_same_length(prices.shape[0], times.shape[0], "prices", "times")
    check_sizes(sizes)
    if times.shape[0]:
        check_times(times, times[0])
    return 0


cdef object average_of(const nanos_t[::1] prices, const nanos_t[::1] sizes, Py_ssize_t first, Py_ssize_t last):
    # The first and the one past the last print.
    cdef wide_t notional = <wide_t>0, quantity = <wide_t>0
    cdef Py_ssize_t i
    cdef int overflow = 0
    with nogil:
        for i in range(first, last):
            overflow |= add_to(&notional, product(prices[i], sizes[i]))
            quantity += <wide_t>sizes[i]
    if overflow:
        raise OverflowError("the notional does not fit into 128 bits")
    return Average(wide_to_int(notional), wide_to_int(quantity), last - first)


cdef Py_ssize_t first_at(const nanos_t[::1] times, nanos_t moment) noexcept nogil:
    # How many times are before `moment`.
    cdef Py_ssize_t low = 0, high = times.shape[0], middle
    while low < high:
        middle = (low + high) // 2
        if times[middle] < moment:
            low = middle + 1
        else:
            high = middle
    return low


cdef Py_ssize_t first_after(const nanos_t[::1] times, nanos_t moment) noexcept nogil:
    # How many times are at or before `moment`.
    cdef Py_ssize_t low = 0, high = times.shape[0], middle
    while low < high:
        middle = (low + high) // 2
        if times[middle] <= moment:
            low = middle + 1
        else:
            high = middle
    return low
