# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""VWAP that lives with a feed: objects that take trades in batches and undo them when they are corrected.

Prices, sizes and times are int64 nanos. Notional and quantity are integers of 128 bits, so an average is exact
whatever came and went. Plain-Python twin: tests/native/twins.py.
"""
from libc.math cimport NAN, sqrt
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memmove

from native._checks cimport check_same_length, check_sizes, check_times
from native._moments cimport deviation_of, merged, moments_of, moments_t, no_moments, parted
from native._types cimport nanos_t
from native._wide cimport add_to, product, subtract_from, wide_t, wide_to_double, wide_to_int

cdef nanos_t EARLIEST = -0x7fffffffffffffff


cdef class RunningVwap:
    """VWAP and its band since the session's start, or since ever when there are no boundaries.

    `boundaries` are the times (nanos, rising) at which a session starts; the first trade at or after one begins
    anew. Raises ValueError when they do not rise.
    """

    def __cinit__(self):
        self.starts = NULL

    def __init__(self, boundaries=()):
        cdef Py_ssize_t i
        starts = [int(start) for start in boundaries]
        for i in range(1, len(starts)):
            if starts[i] <= starts[i - 1]:
                raise ValueError(f"boundaries[{i}] does not rise: {starts[i]} after {starts[i - 1]}")
        self.sessions = len(starts)
        self.session = 0
        self.starts = <nanos_t *>malloc(max(1, self.sessions) * sizeof(nanos_t))
        if self.starts == NULL:
            raise MemoryError
        for i in range(self.sessions):
            self.starts[i] = starts[i]
        self.latest = EARLIEST
        self.clear()

    def __dealloc__(self):
        free(self.starts)

    def update(self, const nanos_t[::1] prices, const nanos_t[::1] sizes, times=None):
        """Take a batch of trades in time order; `times` are needed when there are boundaries.

        Raises ValueError, and takes nothing, when lengths differ, a size is negative, or times run backwards.
        """
        cdef Py_ssize_t n = prices.shape[0], first = 0, last
        cdef const nanos_t[::1] at
        check_same_length(n, sizes.shape[0], "prices", "sizes")
        check_sizes(sizes)
        if n == 0:
            return
        if self.sessions:
            if times is None:
                raise ValueError("boundaries need times")
            at = times
            check_same_length(n, at.shape[0], "prices", "times")
            check_times(at, self.latest)
            self.latest = at[n - 1]
            while self.session < self.sessions and self.starts[self.session] <= at[n - 1]:
                last = first
                while at[last] < self.starts[self.session]:
                    last += 1
                self.take(&prices[0] + first, &sizes[0] + first, last - first)
                self.clear()
                self.session += 1
                first = last
        self.take(&prices[0] + first, &sizes[0] + first, n - first)
        if self.overflow:
            raise OverflowError("the notional does not fit into 128 bits")

    def correct(self, nanos_t price, nanos_t size, nanos_t corrected_price=0, nanos_t corrected_size=0, time=None):
        """Undo a trade, and put the corrected one in its place when `corrected_size` is above zero.

        A trade of an earlier session (`time` before this one's start) is ignored; return whether it was this
        session's. The average is exact again; the band is so to rounding. Raises ValueError when a size is negative,
        or less than `size` has traded.
        """
        if size < 0 or corrected_size < 0:
            raise ValueError(f"a size is negative: {size}, {corrected_size}")
        if time is not None and self.session and time < self.starts[self.session - 1]:
            return False
        if self.quantity < <wide_t>size:
            raise ValueError(f"no volume of {size} to take back")
        self.overflow |= subtract_from(&self.notional, product(price, size))
        self.overflow |= add_to(&self.notional, product(corrected_price, corrected_size))
        self.quantity += <wide_t>corrected_size - <wide_t>size
        self.trades -= corrected_size == 0
        self.moments = parted(self.moments, moments_of(<double>price, <double>size))
        if corrected_size:
            self.moments = merged(self.moments, moments_of(<double>corrected_price, <double>corrected_size))
        return True

    def reset(self):
        """Begin anew now, as at an anchor."""
        self.clear()

    @property
    def vwap(self):
        """The average in price units, NaN while nothing has traded."""
        if self.quantity == <wide_t>0:
            return NAN
        return wide_to_double(self.notional) / wide_to_double(self.quantity) * 1e-9

    @property
    def deviation(self):
        """The volume-weighted standard deviation of prices around the average, in price units; NaN without volume."""
        return deviation_of(self.moments) * 1e-9

    @property
    def notional_e18(self):
        """The exact sum of price times size, in units of 1e-18."""
        return wide_to_int(self.notional)

    @property
    def quantity_nanos(self):
        """The exact sum of sizes."""
        return wide_to_int(self.quantity)

    @property
    def trade_count(self):
        """How many trades the average holds."""
        return self.trades

    def band(self, double deviations=1.0):
        """Return (low, high): the average less and plus so many standard deviations, in price units."""
        cdef double vwap = self.vwap, width = deviations * self.deviation
        return vwap - width, vwap + width

    cdef void clear(self) noexcept nogil:
        self.notional = <wide_t>0
        self.quantity = <wide_t>0
        self.trades = 0
        self.overflow = 0
        self.moments = no_moments()

    cdef void take(self, const nanos_t *prices, const nanos_t *sizes, Py_ssize_t n) noexcept nogil:
        # The batch's own mean first, then deviations from it: no division a trade, no cancellation.
        cdef wide_t notional = <wide_t>0, quantity = <wide_t>0
        cdef moments_t batch = no_moments()
        cdef double apart
        cdef Py_ssize_t i
        for i in range(n):
            self.overflow |= add_to(&notional, product(prices[i], sizes[i]))
            quantity += <wide_t>sizes[i]
        self.overflow |= add_to(&self.notional, notional)
        self.quantity += quantity
        self.trades += n
        if quantity == <wide_t>0:
            return
        batch.weight = wide_to_double(quantity)
        batch.mean = wide_to_double(notional) / batch.weight
        for i in range(n):
            apart = <double>prices[i] - batch.mean
            batch.squares += <double>sizes[i] * apart * apart
        self.moments = merged(self.moments, batch)


cdef class RollingVwap:
    """VWAP and its band over the last `window_count` trades or the last `window_nanos`; give exactly one.

    Raises ValueError unless exactly one is given and it is above zero.
    """

    def __cinit__(self):
        self.trades = NULL

    def __init__(self, window_count=None, window_nanos=None):
        if (window_count is None) == (window_nanos is None):
            raise ValueError("give exactly one of window_count and window_nanos")
        if (window_count if window_nanos is None else window_nanos) <= 0:
            raise ValueError(f"the window must be above zero, not {window_count or window_nanos}")
        self.window_count = window_count or 0
        self.window_nanos = window_nanos or 0
        self.first, self.held, self.room = 0, 0, 0
        self.latest = EARLIEST
        self.notional = <wide_t>0
        self.quantity = <wide_t>0

    def __dealloc__(self):
        free(self.trades)

    def update(self, const nanos_t[::1] prices, const nanos_t[::1] sizes, const nanos_t[::1] times):
        """Take a batch of trades in time order; the window ends at the last of them.

        Raises ValueError, and takes nothing, when lengths differ, a size is negative, or times run backwards.
        """
        cdef Py_ssize_t n = prices.shape[0], i
        check_same_length(n, sizes.shape[0], "prices", "sizes")
        check_same_length(n, times.shape[0], "prices", "times")
        check_sizes(sizes)
        check_times(times, self.latest)
        self.reserve(n)
        with nogil:
            for i in range(n):
                self.push(prices[i], sizes[i], times[i])
            if n:
                self.latest = times[n - 1]
                self.drop(self.latest)

    def advance(self, nanos_t now):
        """Let market time pass without a trade: what has left a window of time is dropped."""
        self.latest = max(self.latest, now)
        self.drop(self.latest)

    def correct(self, nanos_t price, nanos_t size, nanos_t time, nanos_t corrected_price=0, nanos_t corrected_size=0):
        """Undo the trade with this price, size and time, or change it; return whether it was in the window.

        A trade that is undone keeps its place among the last `window_count`, with a size of zero. Raises ValueError
        when a size is negative.
        """
        cdef Py_ssize_t i
        if size < 0 or corrected_size < 0:
            raise ValueError(f"a size is negative: {size}, {corrected_size}")
        for i in range(self.first + self.held - 1, self.first - 1, -1):
            if self.trades[i].time == time and self.trades[i].price == price and self.trades[i].size == size:
                self.notional += product(corrected_price, corrected_size) - product(price, size)
                self.quantity += <wide_t>corrected_size - <wide_t>size
                self.trades[i].price, self.trades[i].size = corrected_price, corrected_size
                return True
        return False

    @property
    def vwap(self):
        """The average in price units, NaN while the window has no volume."""
        if self.quantity == <wide_t>0:
            return NAN
        return wide_to_double(self.notional) / wide_to_double(self.quantity) * 1e-9

    @property
    def deviation(self):
        """The volume-weighted standard deviation around the average, in price units; a pass over the window."""
        cdef double mean, apart, squares = 0.0
        cdef Py_ssize_t i
        if self.quantity == <wide_t>0:
            return NAN
        mean = wide_to_double(self.notional) / wide_to_double(self.quantity)
        for i in range(self.first, self.first + self.held):
            apart = <double>self.trades[i].price - mean
            squares += <double>self.trades[i].size * apart * apart
        return sqrt(squares / wide_to_double(self.quantity)) * 1e-9

    @property
    def quantity_nanos(self):
        """The exact sum of sizes in the window."""
        return wide_to_int(self.quantity)

    @property
    def trade_count(self):
        """How many trades the window holds, undone ones included."""
        return self.held

    cdef int reserve(self, Py_ssize_t n) except -1:
        cdef trade_t *larger
        if self.first + self.held + n <= self.room:
            return 0
        if self.held:
            memmove(self.trades, self.trades + self.first, self.held * sizeof(trade_t))
        self.first = 0
        if 2 * (self.held + n) > self.room:
            larger = <trade_t *>realloc(self.trades, 2 * (self.held + n) * sizeof(trade_t))
            if larger == NULL:
                raise MemoryError
            self.trades = larger
            self.room = 2 * (self.held + n)
        return 0

    cdef void push(self, nanos_t price, nanos_t size, nanos_t time) noexcept nogil:
        cdef trade_t *trade = self.trades + self.first + self.held
        trade.price, trade.size, trade.time = price, size, time
        # Sums may wrap on the way: they are right again when the window's own sum fits into 128 bits.
        self.notional += product(price, size)
        self.quantity += <wide_t>size
        self.held += 1

    cdef void drop(self, nanos_t now) noexcept nogil:
        cdef trade_t *oldest
        while self.held:
            oldest = self.trades + self.first
            if self.window_count:
                if self.held <= self.window_count:
                    return
            elif oldest.time > now - self.window_nanos:
                return
            self.notional -= product(oldest.price, oldest.size)
            self.quantity -= <wide_t>oldest.size
            self.first += 1
            self.held -= 1
