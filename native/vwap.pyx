# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
# distutils: include_dirs = native
# distutils: depends = native/_scan.h native/_scan_kernels.h
"""Volume-weighted average price as a series: by session, from an anchor, over the last trades, over the last time.

Prices, sizes and times are int64 nanos, one element a trade, in time order; results are float64 in price units, NaN
while nothing has traded. The relative error stays below 1e-12 for prices of one sign, however long the series: a
rolling average does not drift. Instructions for wide vectors are chosen at run time (_scan.h). Plain-Python twin:
tests/native/twins.py.

A rolling window is cut at a mark inside it. The sums of the generation of trades that ends at the mark are kept up to
each of its places, so what the window has before the mark is one subtraction; the sums from the mark on run forward.
When the window has passed the mark, its newest trade becomes the mark, and nothing older is remembered. Where the
subtraction would cost digits (the window is less than a sixteenth of the generation before it, after a huge print, or
prices are below zero) the sums from each place on to the mark are taken afresh, and nothing is subtracted. Source of
the cut: van Herk, "A fast algorithm for local minimum and maximum filters", 1992; with a moving edge: Tangwongsan,
Hirzel and Schneider, "Low-latency sliding-window aggregation", 2017.
"""
import numpy as np

from libc.stdint cimport uintptr_t
from libc.stdlib cimport calloc, free

from native._checks cimport check_same_length, check_sizes, check_times
from native._rolling cimport MEMORY_FAULT, TIMES_FAULT, first_at, roll_by_count, roll_by_time
from native._scan cimport BLOCK, fence, scan_for, scan_t, sums_t
from native._types cimport nanos_t
from native._wide cimport add_to, product, wide_t, wide_to_int

cdef nanos_t EARLIEST = -0x7fffffffffffffff
# A longer result would push everything else out of the cache, so it is written past it.
cdef Py_ssize_t STREAM_FROM = 1 << 20
cdef scan_t *scan = scan_for(8)


def choose_lanes(int most=8):
    """Use the kernels with the most lanes (2, 4 or 8), up to `most`, that this processor runs; return how many.

    The widest are in use from the import on. For tests and measurements.
    """
    global scan
    scan = scan_for(most)
    return scan.lanes


def session_vwap(const nanos_t[::1] prices, const nanos_t[::1] sizes):
    """Return the VWAP of all trades, correctly rounded from exact sums; NaN when nothing traded.

    Raises ValueError when lengths differ or a size is negative.
    """
    cdef wide_t notional = <wide_t>0, quantity = <wide_t>0
    cdef Py_ssize_t i
    cdef int overflow = 0
    check_same_length(prices.shape[0], sizes.shape[0], "prices", "sizes")
    check_sizes(sizes)
    with nogil:
        for i in range(prices.shape[0]):
            overflow |= add_to(&notional, product(prices[i], sizes[i]))
            quantity += <wide_t>sizes[i]
    if overflow:
        raise OverflowError("the notional does not fit into 128 bits")
    total = wide_to_int(quantity)
    return wide_to_int(notional) / (total * 1_000_000_000) if total else float("nan")


def session_vwap_series(
    const nanos_t[::1] prices, const nanos_t[::1] sizes, times=None, boundaries=None, *, starts=None, out=None
):
    """Return the VWAP since the session's start, after each trade.

    `boundaries` are the times (nanos, rising) at which a session starts: the first trade at or after one begins
    anew; then `times` are needed, and all of them are read, to see that they are in order. Who keeps a tape in order
    already knows where its sessions start and gives `starts` instead: rows that do not fall, from 0 up to the number of
    trades. With neither, all trades are one session. The result goes into `out` when given.
    Raises ValueError when lengths differ, a size is negative, times, boundaries or starts run backwards, a start is no
    row, or both boundaries and starts are given; `out` may then hold part of a result.
    """
    cdef Py_ssize_t n = prices.shape[0], first = 0, i
    cdef const nanos_t[::1] rows
    check_same_length(n, sizes.shape[0], "prices", "sizes")
    if boundaries is not None and starts is not None:
        raise ValueError("give boundaries or starts, not both")
    result = _result(out, n)
    cdef double[::1] series = result
    if boundaries is not None:
        rows = _rows(times, boundaries, n)
    elif starts is not None:
        rows = starts
        for i in range(rows.shape[0]):
            if not (rows[i - 1] if i else 0) <= rows[i] <= n:
                raise ValueError(f"starts[{i}] is no row from {rows[i - 1] if i else 0} to {n}: {rows[i]}")
    else:
        rows = np.empty(0, np.int64)
    for i in range(rows.shape[0]):
        run_session(prices, sizes, first, rows[i], series)
        first = rows[i]
    run_session(prices, sizes, first, n, series)
    return result


def _rows(times, const nanos_t[::1] boundaries, Py_ssize_t n):
    # The row at which each session starts; an empty one starts where the next does.
    cdef Py_ssize_t i
    cdef const nanos_t[::1] at
    if times is None:
        raise ValueError("boundaries need times")
    at = times
    check_same_length(n, at.shape[0], "prices", "times")
    check_order(at)
    rows = np.empty(boundaries.shape[0], np.int64)
    for i in range(boundaries.shape[0]):
        if i and boundaries[i] <= boundaries[i - 1]:
            raise ValueError(f"boundaries[{i}] does not rise: {boundaries[i]} after {boundaries[i - 1]}")
        rows[i] = position(at, boundaries[i])
    return rows


def anchored_vwap_series(
    const nanos_t[::1] prices, const nanos_t[::1] sizes, const nanos_t[::1] times, nanos_t anchor, *, out=None
):
    """Return the VWAP since the first trade at or after `anchor`, after each trade; NaN for those before it.

    Raises ValueError as `session_vwap_series`.
    """
    cdef Py_ssize_t n = prices.shape[0], first
    check_same_length(n, sizes.shape[0], "prices", "sizes")
    check_same_length(n, times.shape[0], "prices", "times")
    check_order(times)
    result = _result(out, n)
    cdef double[::1] series = result
    first = position(times, anchor)
    series[:first] = float("nan")
    run_session(prices, sizes, first, n, series)
    return result


def rolling_vwap_by_count(const nanos_t[::1] prices, const nanos_t[::1] sizes, Py_ssize_t window, *, out=None):
    """Return the VWAP of the last `window` trades, after each trade; of all so far while there are fewer.

    Raises ValueError when lengths differ, a size is negative, or the window is not above zero.
    """
    cdef Py_ssize_t n = prices.shape[0]
    cdef double *pairs
    cdef sums_t sums
    check_same_length(n, sizes.shape[0], "prices", "sizes")
    if window <= 0:
        raise ValueError(f"window must be above zero, not {window}")
    result = _result(out, n)
    cdef double[::1] series = result
    if n == 0:
        return result
    pairs = <double *>calloc(2 * min(window, n), sizeof(double))
    if pairs == NULL:
        raise MemoryError
    sums.notional, sums.quantity, sums.sizes, sums.prices = 0.0, 0.0, 0, 0
    with nogil:
        roll_by_count(scan, prices, sizes, window, pairs, &sums, &series[0], is_streamed(&series[0], n))
    free(pairs)
    if sums.sizes < 0:
        check_sizes(sizes)
    return result


def rolling_vwap_by_time(
    const nanos_t[::1] prices,
    const nanos_t[::1] sizes,
    const nanos_t[::1] times,
    nanos_t window_nanos,
    *,
    out=None,
):
    """Return the VWAP of the trades in the last `window_nanos`, after each trade.

    A trade at time t sees those with t - window_nanos < time <= t that stand before it or are itself. Raises
    ValueError when lengths differ, a size is negative, times run backwards, or the window is not above zero.
    """
    cdef Py_ssize_t n = prices.shape[0]
    check_same_length(n, sizes.shape[0], "prices", "sizes")
    check_same_length(n, times.shape[0], "prices", "times")
    if window_nanos <= 0:
        raise ValueError(f"window_nanos must be above zero, not {window_nanos}")
    result = _result(out, n)
    cdef double[::1] series = result
    cdef int fault = 0
    if n and times[0] < EARLIEST + window_nanos:
        fault = TIMES_FAULT  # the window would begin before int64 does
    elif n:
        with nogil:
            fault = roll_by_time(scan, prices, sizes, times, window_nanos, &series[0], is_streamed(&series[0], n))
    if fault == MEMORY_FAULT:
        raise MemoryError
    if fault:
        check_times(times, EARLIEST + window_nanos)
        check_sizes(sizes)
    return result


def _result(out, Py_ssize_t n):
    if out is None:
        return np.empty(n, np.float64)
    check_same_length(n, len(out), "prices", "out")
    return out


cdef int check_order(const nanos_t[::1] times) except -1:
    if times.shape[0] and not scan.ordered(&times[0], times.shape[0]):
        check_times(times, EARLIEST)
    return 0


cdef inline bint is_streamed(const double *series, Py_ssize_t n) noexcept nogil:
    return n >= STREAM_FROM and <uintptr_t>series % sizeof(double) == 0


cdef int run_session(
    const nanos_t[::1] prices, const nanos_t[::1] sizes, Py_ssize_t first, Py_ssize_t last, double[::1] series
) except -1:
    cdef sums_t sums
    cdef Py_ssize_t i = first, length
    cdef bint stream
    if first >= last:
        return 0
    sums.notional, sums.quantity, sums.sizes, sums.prices = 0.0, 0.0, 0, 0
    stream = is_streamed(&series[first], last - first)
    # The first block also takes the elements up to the next cache line of the result.
    length = BLOCK + <Py_ssize_t>((64 - <uintptr_t>&series[first] % 64) % 64 // sizeof(double))
    with nogil:
        while i < last:
            length = min(length, last - i)
            scan.session(&prices[i], &sizes[i], length, &sums, &series[i], stream)
            i += length
            length = BLOCK
        fence()
    if sums.sizes < 0:
        check_sizes(sizes)
    return 0


cdef inline Py_ssize_t position(const nanos_t[::1] times, nanos_t moment) noexcept nogil:
    # How many times are before `moment`.
    return first_at(&times[0], 0, times.shape[0], moment) if times.shape[0] else 0
