# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""Where and when volume traded: by price level, and by time of day.

Prices, sizes and times are int64 nanos; volumes add up in integers of 128 bits, so that a print that is undone
leaves no trace. Plain-Python twin: tests/native/twins.py.
"""
import numpy as np

from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from native._checks cimport check_same_length, check_sizes
from native._types cimport nanos_t
from native._wide cimport wide_t, wide_to_double, wide_to_int

# Levels that one profile may span: at a tick of 0.01, prices some 10,000 apart.
cdef Py_ssize_t MAXIMUM_LEVELS = 1 << 20


cdef class PriceProfile:
    """Volume by price level; a level is one tick wide and named by its lower price.

    Raises ValueError when the tick is not above zero.
    """

    def __cinit__(self):
        self.levels = NULL
        self.length = 0

    def __init__(self, tick_nanos):
        if tick_nanos <= 0:
            raise ValueError(f"tick_nanos must be above zero, not {tick_nanos}")
        self.tick = tick_nanos

    def __dealloc__(self):
        free(self.levels)

    def add(self, const nanos_t[::1] prices, const nanos_t[::1] sizes):
        """Take a batch of prints.

        Raises ValueError, and takes nothing, when lengths differ, a size is negative, or prices would span more than
        1,048,576 levels (a misprint, or too fine a tick).
        """
        cdef Py_ssize_t i
        cdef nanos_t low, high
        check_same_length(prices.shape[0], sizes.shape[0], "prices", "sizes")
        check_sizes(sizes)
        if prices.shape[0] == 0:
            return
        low = high = prices[0]
        for i in range(prices.shape[0]):
            low = min(low, prices[i])
            high = max(high, prices[i])
        self.cover(floor_divide(low, self.tick), floor_divide(high, self.tick))
        with nogil:
            for i in range(prices.shape[0]):
                self.levels[floor_divide(prices[i], self.tick) - self.lowest] += <wide_t>sizes[i]

    def correct(self, nanos_t price, nanos_t size, nanos_t corrected_price=0, nanos_t corrected_size=0):
        """Undo a print, and put the corrected one in its place when `corrected_size` is above zero.

        Raises ValueError when a size is negative or its level holds less than `size`.
        """
        cdef nanos_t level = floor_divide(price, self.tick), corrected = floor_divide(corrected_price, self.tick)
        if size < 0 or corrected_size < 0:
            raise ValueError(f"a size is negative: {size}, {corrected_size}")
        if not (self.lowest <= level < self.lowest + self.length) or (
            self.levels[level - self.lowest] < <wide_t>size
        ):
            raise ValueError(f"no volume of {size} at price {price} to take back")
        if corrected_size:
            self.cover(corrected, corrected)
        self.levels[level - self.lowest] -= <wide_t>size
        if corrected_size:
            self.levels[corrected - self.lowest] += <wide_t>corrected_size

    @property
    def total_nanos(self):
        """The whole volume."""
        cdef wide_t total = <wide_t>0
        cdef Py_ssize_t i
        for i in range(self.length):
            total += self.levels[i]
        return wide_to_int(total)

    def volumes(self):
        """Return the levels with volume as (prices int64 nanos, volumes float64 in units), by rising price."""
        cdef Py_ssize_t i, at = 0, filled = 0
        for i in range(self.length):
            filled += self.levels[i] != <wide_t>0
        prices, sizes = np.empty(filled, np.int64), np.empty(filled, np.float64)
        cdef nanos_t[::1] level_prices = prices
        cdef double[::1] level_volumes = sizes
        for i in range(self.length):
            if self.levels[i] != <wide_t>0:
                level_prices[at] = (self.lowest + i) * self.tick
                level_volumes[at] = wide_to_double(self.levels[i]) / 1e9
                at += 1
        return prices, sizes

    def point_of_control_nanos(self):
        """Return the price of the level with the largest volume, the lowest of equals; None when nothing traded."""
        cdef Py_ssize_t at = self.busiest()
        return None if at < 0 else (self.lowest + at) * self.tick

    def value_area_nanos(self, double share=0.7):
        """Return (low, high): the levels around the point of control that hold `share` of the volume, both included.

        From the point of control on, the neighbour above or below with more volume joins (above, when equal) until
        the share is reached. None when nothing traded. Raises ValueError unless 0 < share <= 1.
        """
        cdef Py_ssize_t low, high, bottom, top
        cdef wide_t held, above, below
        if not 0 < share <= 1:
            raise ValueError(f"share must lie above 0, up to 1, not {share}")
        low = high = self.busiest()
        if low < 0:
            return None
        held = self.levels[low]
        bottom, top = 0, self.length - 1
        while self.levels[bottom] == <wide_t>0:
            bottom += 1
        while self.levels[top] == <wide_t>0:
            top -= 1
        # In whole billionths of the total, so that the comparison is exact.
        cdef wide_t wanted = whole_share(self, <nanos_t>(share * 1e9 + 0.5))
        while held * <wide_t>1_000_000_000 < wanted:
            above = self.levels[high + 1] if high < top else <wide_t>-1
            below = self.levels[low - 1] if low > bottom else <wide_t>-1
            if above >= below:
                high += 1
                held += above
            else:
                low -= 1
                held += below
        return (self.lowest + low) * self.tick, (self.lowest + high) * self.tick

    cdef Py_ssize_t busiest(self) noexcept nogil:
        cdef Py_ssize_t i, at = -1
        cdef wide_t largest = <wide_t>0
        for i in range(self.length):
            if self.levels[i] > largest:
                largest = self.levels[i]
                at = i
        return at

    cdef int cover(self, nanos_t low, nanos_t high) except -1:
        """Make levels low..high exist, with room around them for what comes next."""
        cdef wide_t *levels
        cdef Py_ssize_t margin
        if self.length:
            if self.lowest <= low and high < self.lowest + self.length:
                return 0
            low = min(low, self.lowest)
            high = max(high, self.lowest + self.length - 1)
        if high - low >= MAXIMUM_LEVELS:
            raise ValueError(
                f"prices from {low * self.tick} to {high * self.tick} span more than {MAXIMUM_LEVELS} levels"
            )
        margin = min((high - low) // 2 + 32, MAXIMUM_LEVELS - (high - low) - 1) // 2
        low -= margin
        high += margin
        levels = <wide_t *>calloc(high - low + 1, sizeof(wide_t))
        if levels == NULL:
            raise MemoryError
        if self.length:
            memcpy(levels + (self.lowest - low), self.levels, self.length * sizeof(wide_t))
        free(self.levels)
        self.levels = levels
        self.lowest = low
        self.length = high - low + 1
        return 0


cdef class TimeProfile:
    """Volume by bin of market time; edges rise, a bin holds its first moment and not its last.

    Prints outside the edges are counted apart. Raises ValueError for fewer than two edges, or edges that do not rise.
    """

    def __cinit__(self):
        self.edges = NULL
        self.volumes = NULL

    def __init__(self, const nanos_t[::1] bin_edges_nanos):
        cdef Py_ssize_t i
        if bin_edges_nanos.shape[0] < 2:
            raise ValueError(f"bin_edges_nanos needs two elements, has {bin_edges_nanos.shape[0]}")
        for i in range(1, bin_edges_nanos.shape[0]):
            if bin_edges_nanos[i] <= bin_edges_nanos[i - 1]:
                raise ValueError(
                    f"bin_edges_nanos[{i}] does not rise: {bin_edges_nanos[i]} after {bin_edges_nanos[i - 1]}"
                )
        self.bins = bin_edges_nanos.shape[0] - 1
        self.edges = <nanos_t *>malloc((self.bins + 1) * sizeof(nanos_t))
        self.volumes = <wide_t *>calloc(self.bins, sizeof(wide_t))
        if self.edges == NULL or self.volumes == NULL:
            raise MemoryError
        for i in range(self.bins + 1):
            self.edges[i] = bin_edges_nanos[i]
        self.outside = <wide_t>0

    def __dealloc__(self):
        free(self.edges)
        free(self.volumes)

    def add(self, const nanos_t[::1] times, const nanos_t[::1] sizes):
        """Take a batch of prints in any order. Raises ValueError when lengths differ or a size is negative."""
        cdef Py_ssize_t i
        check_same_length(times.shape[0], sizes.shape[0], "times", "sizes")
        check_sizes(sizes)
        with nogil:
            for i in range(times.shape[0]):
                self.book(times[i], sizes[i])

    def correct(self, nanos_t time, nanos_t size, nanos_t corrected_size=0):
        """Undo a print (`corrected_size` 0) or change its size.

        Raises ValueError when a size is negative or its bin holds less than `size`.
        """
        cdef Py_ssize_t at = self.bin_at(time)
        if size < 0 or corrected_size < 0:
            raise ValueError(f"a size is negative: {size}, {corrected_size}")
        if (self.outside if at < 0 else self.volumes[at]) < <wide_t>size:
            raise ValueError(f"no volume of {size} at {time} to take back")
        self.book(time, corrected_size - size)

    @property
    def outside_nanos(self):
        """The volume that traded outside the edges."""
        return wide_to_int(self.outside)

    def volumes_nanos(self):
        """Return the volume of every bin as a list of exact ints."""
        return [wide_to_int(self.volumes[i]) for i in range(self.bins)]

    def shares(self):
        """Return every bin's share of the volume inside the edges as float64; NaN when nothing traded there."""
        cdef Py_ssize_t i
        cdef wide_t total = <wide_t>0
        result = np.empty(self.bins, np.float64)
        cdef double[::1] shares = result
        for i in range(self.bins):
            total += self.volumes[i]
        for i in range(self.bins):
            shares[i] = wide_to_double(self.volumes[i]) / wide_to_double(total)
        return result

    cdef void book(self, nanos_t time, nanos_t size) noexcept nogil:
        cdef Py_ssize_t at = self.bin_at(time)
        if at < 0:
            self.outside += <wide_t>size
        else:
            self.volumes[at] += <wide_t>size

    cdef Py_ssize_t bin_at(self, nanos_t time) noexcept nogil:
        # The bin that holds `time`, or -1.
        cdef Py_ssize_t low = 0, high = self.bins, middle
        if time < self.edges[0] or time >= self.edges[self.bins]:
            return -1
        while high - low > 1:
            middle = (low + high) // 2
            if self.edges[middle] <= time:
                low = middle
            else:
                high = middle
        return low


def static_curve(const double[:, ::1] session_volumes, Py_ssize_t trailing_sessions=60):
    """Return the static VWAP curve: the mean share per bin over the trailing sessions, as float64 weights.

    One row a session, oldest first, one column a bin; all rows when there are fewer than `trailing_sessions`. A
    session without volume says nothing and is left out (it still counts as one of the trailing). Raises ValueError
    for a negative or not finite volume, or when no session has volume.
    """
    cdef Py_ssize_t i, j, used = 0, bins = session_volumes.shape[1]
    cdef double total
    if trailing_sessions < 1:
        raise ValueError(f"trailing_sessions must be above zero, not {trailing_sessions}")
    weights = np.zeros(bins, np.float64)
    cdef double[::1] curve = weights
    for i in range(max(0, session_volumes.shape[0] - trailing_sessions), session_volumes.shape[0]):
        total = 0.0
        for j in range(bins):
            if not 0.0 <= session_volumes[i, j] <= 1.7e308:
                raise ValueError(f"session_volumes[{i}, {j}] is not a volume: {session_volumes[i, j]}")
            total += session_volumes[i, j]
        if total > 0.0:
            used += 1
            for j in range(bins):
                curve[j] += session_volumes[i, j] / total
    if used == 0:
        raise ValueError("no session has volume")
    for j in range(bins):
        curve[j] /= used
    return weights


cdef inline nanos_t floor_divide(nanos_t price, nanos_t tick) noexcept nogil:
    cdef nanos_t level = price // tick
    return level - 1 if level * tick > price else level


cdef inline wide_t whole_share(PriceProfile profile, nanos_t billionths) noexcept nogil:
    cdef wide_t total = <wide_t>0
    cdef Py_ssize_t i
    for i in range(profile.length):
        total += profile.levels[i]
    return total * <wide_t>billionths
