# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""VWAP with its band, as a pair of series: the average and the volume-weighted standard deviation around it.

Prices, sizes and times are int64 nanos in time order; results are float64 in price units, NaN while nothing has
traded. Rolling windows merge moments from both sides of a mark, as native/vwap.pyx does with sums, and never take
any away, so nothing drifts. Plain-Python twin: tests/native/twins.py.
"""
import numpy as np

from libc.math cimport NAN
from libc.stdlib cimport free, malloc

from native._checks cimport check_same_length, check_sizes, check_times
from native._moments cimport deviation_of, merged, moments_of, moments_t, no_moments
from native._types cimport nanos_t

cdef nanos_t EARLIEST = -0x7fffffffffffffff


def session_vwap_bands(const nanos_t[::1] prices, const nanos_t[::1] sizes, times=None, boundaries=None):
    """Return (vwap, deviation) since the session's start, after each trade; `boundaries` as in native.vwap.

    Raises ValueError when lengths differ, a size is negative, or times or boundaries run backwards.
    """
    cdef Py_ssize_t n = prices.shape[0], i, session = 0, sessions = 0
    cdef const nanos_t[::1] at, starts
    cdef moments_t so_far = no_moments()
    check_same_length(n, sizes.shape[0], "prices", "sizes")
    check_sizes(sizes)
    if boundaries is not None:
        if times is None:
            raise ValueError("boundaries need times")
        at, starts = times, boundaries
        sessions = starts.shape[0]
        check_same_length(n, at.shape[0], "prices", "times")
        check_times(at, EARLIEST)
        for i in range(1, sessions):
            if starts[i] <= starts[i - 1]:
                raise ValueError(f"boundaries[{i}] does not rise: {starts[i]} after {starts[i - 1]}")
    averages, deviations = np.empty(n, np.float64), np.empty(n, np.float64)
    cdef double[::1] vwap = averages, deviation = deviations
    for i in range(n):
        while session < sessions and starts[session] <= at[i]:
            so_far = no_moments()
            session += 1
        so_far = merged(so_far, moments_of(<double>prices[i], <double>sizes[i]))
        put(so_far, &vwap[i], &deviation[i])
    return averages, deviations


def anchored_vwap_bands(
    const nanos_t[::1] prices, const nanos_t[::1] sizes, const nanos_t[::1] times, nanos_t anchor
):
    """Return (vwap, deviation) since the first trade at or after `anchor`; NaN for those before it."""
    averages, deviations = session_vwap_bands(prices, sizes, times, np.array([anchor], np.int64))
    before = int(np.searchsorted(times, anchor))
    averages[:before] = np.nan
    deviations[:before] = np.nan
    return averages, deviations


def rolling_vwap_bands_by_count(const nanos_t[::1] prices, const nanos_t[::1] sizes, Py_ssize_t window):
    """Return (vwap, deviation) of the last `window` trades, after each trade. Raises as native.vwap does."""
    cdef Py_ssize_t n = prices.shape[0]
    check_same_length(n, sizes.shape[0], "prices", "sizes")
    check_sizes(sizes)
    if window <= 0:
        raise ValueError(f"window must be above zero, not {window}")
    return roll(prices, sizes, None, window)


def rolling_vwap_bands_by_time(
    const nanos_t[::1] prices, const nanos_t[::1] sizes, const nanos_t[::1] times, nanos_t window_nanos
):
    """Return (vwap, deviation) of the last `window_nanos`, after each trade. Raises as native.vwap does."""
    cdef Py_ssize_t n = prices.shape[0]
    check_same_length(n, sizes.shape[0], "prices", "sizes")
    check_same_length(n, times.shape[0], "prices", "times")
    check_sizes(sizes)
    if window_nanos <= 0:
        raise ValueError(f"window_nanos must be above zero, not {window_nanos}")
    check_times(times, EARLIEST + window_nanos)
    return roll(prices, sizes, times, window_nanos)


cdef object roll(const nanos_t[::1] prices, const nanos_t[::1] sizes, const nanos_t[::1] times, nanos_t window):
    # Without times the window is a count of trades.
    cdef Py_ssize_t n = prices.shape[0], i, k, left = 0, mark = 0, tail_start = 0, room = 0
    cdef moments_t *tail = NULL
    cdef moments_t head = no_moments(), sum_back
    cdef bint by_time = times is not None
    averages, deviations = np.empty(n, np.float64), np.empty(n, np.float64)
    cdef double[::1] vwap = averages, deviation = deviations
    for i in range(n):
        if by_time:
            while times[left] <= times[i] - window:
                left += 1
        else:
            left = max(0, i - window + 1)
        if left >= mark:
            # The window has passed the mark: this trade becomes the new one, the older ones the tail.
            mark, tail_start, head = i, left, no_moments()
            if mark - left > room:
                free(tail)
                room = 2 * (mark - left)
                tail = <moments_t *>malloc(room * sizeof(moments_t))
                if tail == NULL:
                    raise MemoryError
            sum_back = no_moments()
            for k in range(mark - 1, left - 1, -1):
                sum_back = merged(moments_of(<double>prices[k], <double>sizes[k]), sum_back)
                tail[k - left] = sum_back
        head = merged(head, moments_of(<double>prices[i], <double>sizes[i]))
        put(merged(tail[left - tail_start], head) if left < mark else head, &vwap[i], &deviation[i])
    free(tail)
    return averages, deviations


cdef inline void put(moments_t all, double *vwap, double *deviation) noexcept nogil:
    vwap[0] = all.mean * 1e-9 if all.weight > 0.0 else NAN
    deviation[0] = deviation_of(all) * 1e-9
