# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
# distutils: include_dirs = native
# distutils: depends = native/_scan.h native/_scan_kernels.h
"""Volume-weighted average price as a series: by session, from an anchor, over the last trades, over the last time.

Prices, sizes and times are int64 nanos, one element a trade, in time order; results are float64 in price units, NaN
while nothing has traded. Every sum is taken afresh over its own trades, nothing is ever subtracted, so a rolling
average does not drift; the relative error stays below 1e-12 for prices of one sign. Instructions for wide vectors are
chosen at run time (_scan.h). Plain-Python twin: tests/native/twins.py.

A rolling window is cut at a mark inside it: the sums from the mark back to each older trade are kept (a tail), those
from the mark on run forward (a head), and a window is one of each; when the window has passed the mark, its newest
trade becomes the mark. Source: van Herk, "A fast algorithm for local minimum and maximum filters", 1992; the same
with a moving edge: Tangwongsan, Hirzel and Schneider, "Low-latency sliding-window aggregation", 2017.
"""
import numpy as np

from libc.stdint cimport int64_t, uintptr_t
from libc.stdlib cimport free, malloc

from native._checks cimport check_same_length, check_sizes, check_times
from native._scan cimport BLOCK, fence, scan_for, scan_t, sums_t
from native._types cimport nanos_t
from native._wide cimport add_to, product, wide_t, wide_to_int

cdef nanos_t EARLIEST = -0x7fffffffffffffff
# A longer result would push everything else out of the cache, so it is written past it.
cdef Py_ssize_t STREAM_FROM = 1 << 20
# Windows of fewer trades than this are summed one by one.
cdef Py_ssize_t SHORT = 16
# Buffers that are read and written in step lie a few cache lines apart modulo a page: at the same place in their pages
# a load waits for the store before it.
cdef Py_ssize_t STAGGER = 72
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
    const nanos_t[::1] prices, const nanos_t[::1] sizes, times=None, boundaries=None, *, out=None
):
    """Return the VWAP since the session's start, after each trade.

    `boundaries` are the times (nanos, rising) at which a session starts: the first trade at or after one begins
    anew; then `times` are needed. Without them all trades are one session. The result goes into `out` when given.
    Raises ValueError when lengths differ, a size is negative, or times or boundaries run backwards; `out` may then
    hold part of a result.
    """
    cdef Py_ssize_t n = prices.shape[0], first = 0, last, i
    cdef const nanos_t[::1] at, starts
    check_same_length(n, sizes.shape[0], "prices", "sizes")
    result = _result(out, n)
    cdef double[::1] series = result
    if boundaries is None:
        run_session(prices, sizes, 0, n, series)
        return result
    if times is None:
        raise ValueError("boundaries need times")
    at = times
    starts = boundaries
    check_same_length(n, at.shape[0], "prices", "times")
    check_times(at, EARLIEST)
    for i in range(1, starts.shape[0]):
        if starts[i] <= starts[i - 1]:
            raise ValueError(f"boundaries[{i}] does not rise: {starts[i]} after {starts[i - 1]}")
    for i in range(starts.shape[0]):
        last = position(at, starts[i])
        run_session(prices, sizes, first, last, series)
        first = last
    run_session(prices, sizes, first, n, series)
    return result


def anchored_vwap_series(
    const nanos_t[::1] prices, const nanos_t[::1] sizes, const nanos_t[::1] times, nanos_t anchor, *, out=None
):
    """Return the VWAP since the first trade at or after `anchor`, after each trade; NaN for those before it.

    Raises ValueError as `session_vwap_series`.
    """
    cdef Py_ssize_t n = prices.shape[0], first
    check_same_length(n, sizes.shape[0], "prices", "sizes")
    check_same_length(n, times.shape[0], "prices", "times")
    check_times(times, EARLIEST)
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
    cdef Py_ssize_t n = prices.shape[0], start, length, room
    cdef double *tail
    cdef int64_t signs = 0
    check_same_length(n, sizes.shape[0], "prices", "sizes")
    if window <= 0:
        raise ValueError(f"window must be above zero, not {window}")
    result = _result(out, n)
    cdef double[::1] series = result
    if n == 0:
        return result
    run_session(prices, sizes, 0, min(window, n), series)
    if window >= n:
        return result
    # tail[k] and tail[room + k]: notional and quantity of the chunk before, from its trade k on.
    room = window + 1 + STAGGER
    tail = <double *>malloc(2 * room * sizeof(double))
    if tail == NULL:
        raise MemoryError
    with nogil:
        start = window
        while start < n:
            length = min(window, n - start)
            tail_sums(prices, sizes, start - window, start, tail, tail + room)
            signs |= run_window(
                &prices[start], &sizes[start], length, tail + 1, tail + room + 1, &series[start], n >= STREAM_FROM
            )
            start += length
        fence()
    free(tail)
    if signs < 0:
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
            fault = roll_by_time(prices, sizes, times, window_nanos, &series[0])
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


cdef int run_session(
    const nanos_t[::1] prices, const nanos_t[::1] sizes, Py_ssize_t first, Py_ssize_t last, double[::1] series
) except -1:
    cdef sums_t sums
    cdef int64_t signs = 0
    cdef Py_ssize_t i = first, length
    cdef int stream
    if first >= last:
        return 0
    sums.notional, sums.quantity = 0.0, 0.0
    stream = last - first >= STREAM_FROM and <uintptr_t>&series[first] % sizeof(double) == 0
    # The first block also takes the elements up to the next cache line of the result.
    length = BLOCK + <Py_ssize_t>((64 - <uintptr_t>&series[first] % 64) % 64 // sizeof(double))
    with nogil:
        while i < last:
            length = min(length, last - i)
            signs |= scan.session(&prices[i], &sizes[i], length, &sums, &series[i], stream)
            i += length
            length = BLOCK
        fence()
    if signs < 0:
        check_sizes(sizes)
    return 0


cdef int64_t run_window(
    const nanos_t *prices,
    const nanos_t *sizes,
    Py_ssize_t length,
    const double *tail_notional,
    const double *tail_quantity,
    double *series,
    int stream,
) noexcept nogil:
    cdef sums_t sums
    cdef int64_t signs = 0
    cdef Py_ssize_t i = 0, block
    sums.notional, sums.quantity = 0.0, 0.0
    stream = stream and <uintptr_t>series % sizeof(double) == 0
    while i < length:
        block = min(<Py_ssize_t>BLOCK, length - i)
        signs |= scan.window(
            prices + i, sizes + i, block, &sums, tail_notional + i, tail_quantity + i, series + i, stream
        )
        i += block
    return signs


cdef void tail_sums(
    const nanos_t[::1] prices,
    const nanos_t[::1] sizes,
    Py_ssize_t first,
    Py_ssize_t last,
    double *notional,
    double *quantity,
) noexcept nogil:
    # Element k: the sums of trades first + k .. last - 1; the element after the last is zero.
    cdef sums_t sums
    cdef Py_ssize_t i = last, block
    sums.notional, sums.quantity = 0.0, 0.0
    notional[last - first], quantity[last - first] = 0.0, 0.0
    while i > first:
        block = min(<Py_ssize_t>BLOCK, i - first)
        i -= block
        scan.backward(&prices[i], &sizes[i], block, &sums, notional + (i - first), quantity + (i - first))


cdef enum:
    MEMORY_FAULT = 1
    TIMES_FAULT = 2
    SIZES_FAULT = 3


cdef int roll_by_time(
    const nanos_t[::1] prices,
    const nanos_t[::1] sizes,
    const nanos_t[::1] times,
    nanos_t window,
    double *series,
) noexcept nogil:
    # Return 0, or what went wrong.
    cdef Py_ssize_t n = times.shape[0], block_start, block_end, segment_end, i, oldest = 0, mark = 0
    cdef Py_ssize_t tail_start = 0, tail_room = 0
    cdef int64_t signs = 0
    cdef int64_t[1024] left
    cdef double[4096] heads
    cdef double *notional = heads + STAGGER
    cdef double *quantity = heads + 2048 + 3 * STAGGER
    cdef double *tail = NULL
    cdef sums_t sums
    sums.notional, sums.quantity = 0.0, 0.0
    for block_start in range(0, n, 1024):
        block_end = min(block_start + 1024, n)
        if not scan.edges(&times[0], n, block_start, block_end - block_start, oldest, window, left):
            free(tail)
            return TIMES_FAULT
        oldest = left[block_end - block_start - 1]
        i = block_start
        while i < block_end:
            if left[i - block_start] >= mark:
                # The window has passed the mark.
                if i - left[i - block_start] < SHORT:
                    signs |= sizes[i]
                    series[i] = direct(prices, sizes, left[i - block_start], i)
                    i += 1
                    continue
                mark, tail_start = i, left[i - block_start]
                if mark - tail_start + 1 > tail_room:
                    free(tail)
                    tail_room = 2 * (mark - tail_start + 1) + STAGGER
                    tail = <double *>malloc(2 * tail_room * sizeof(double))
                    if tail == NULL:
                        return MEMORY_FAULT
                tail_sums(prices, sizes, tail_start, mark, tail, tail + tail_room)
                sums.notional, sums.quantity = 0.0, 0.0
            segment_end = block_start + first_at(left, i - block_start, block_end - block_start, mark)
            signs |= scan.forward(&prices[i], &sizes[i], segment_end - i, &sums, notional, quantity)
            scan.join(
                notional,
                quantity,
                left + (i - block_start),
                segment_end - i,
                tail_start,
                tail,
                tail + tail_room,
                series + i,
            )
            i = segment_end
    free(tail)
    return SIZES_FAULT if signs < 0 else 0


cdef inline double direct(
    const nanos_t[::1] prices, const nanos_t[::1] sizes, Py_ssize_t first, Py_ssize_t last
) noexcept nogil:
    cdef double notional = 0.0, quantity = 0.0
    cdef Py_ssize_t i
    for i in range(first, last + 1):
        notional += <double>prices[i] * <double>sizes[i]
        quantity += <double>sizes[i]
    return notional / quantity * 1e-9


cdef inline Py_ssize_t first_at(const int64_t *values, Py_ssize_t low, Py_ssize_t high, int64_t wanted) noexcept nogil:
    # The first position in low..high-1 whose value is at least `wanted`, else `high`.
    cdef Py_ssize_t middle
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


cdef inline Py_ssize_t position(const nanos_t[::1] times, nanos_t moment) noexcept nogil:
    # How many times are before `moment`.
    return first_at(&times[0], 0, times.shape[0], moment) if times.shape[0] else 0
