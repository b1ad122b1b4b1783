# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""The participation cap of `native.participation` for a replay, in constant time an event.

A replay never goes back in time and is never corrected, so the least room over all trailing windows is a running
maximum: with level(t) = cap * all(<= t) - own(<= t), what is allowed at `now` is level(now) less the highest level in
now - window .. now - shortest, which a queue of falling levels keeps (Lemire, "Streaming maximum-minimum filter using
no more than three comparisons per element", 2006). Exact, in integers of 128 bits. Twin: `ParticipationTracker`.
"""
from libc.stdlib cimport free, realloc
from libc.string cimport memmove

from native._types cimport nanos_t
from native._wide cimport high_half, low_half, wide_t

cdef nanos_t ONE = 1_000_000_000
cdef nanos_t EARLIEST = -0x7fffffffffffffff
cdef nanos_t LARGEST = 0x7fffffffffffffff


cdef class TrailingCap:
    """What may be done under `cap` (a rate, to 1e-9) in every trailing window from `shortest_nanos` to `window_nanos`.

    Times never fall. Promises what `native.participation` does, own fills not among the prints. Raises ValueError
    unless 0 <= cap < 1 and 0 < shortest_nanos <= window_nanos.
    """

    def __cinit__(self):
        self.moments = NULL
        self.tops = NULL

    def __init__(self, double cap, window_nanos=300 * ONE, shortest_nanos=None):
        shortest = min(window_nanos, 60 * ONE) if shortest_nanos is None else shortest_nanos
        if not 0.0 <= cap < 1.0:
            raise ValueError(f"cap must lie in 0..1, below 1, not {cap}")
        if not 0 < shortest <= window_nanos:
            raise ValueError(f"0 < shortest_nanos <= window_nanos does not hold: {shortest}, {window_nanos}")
        self.cap = <nanos_t>(cap * ONE + 0.5)
        self.window = window_nanos
        self.shortest = shortest
        self.capacity = 0
        self.count = 0
        self.entered = self.first_top = self.end_top = 0
        self.level = <wide_t>0
        self.reserve(64)
        # Before everything: nothing traded, nothing done.
        self.moments[0].time = EARLIEST
        self.moments[0].level = <wide_t>0
        self.count = 1

    def __dealloc__(self):
        free(self.moments)
        free(self.tops)

    def add_volume(self, nanos_t time, nanos_t size):
        """Take one eligible print. Raises ValueError for a negative size or a time that runs backwards."""
        self._check(time, size)
        self.reserve(1)
        self.add_print(time, size)

    def add_own_fill(self, nanos_t time, nanos_t size):
        """Take one own fill. Raises ValueError for a negative size or a time that runs backwards."""
        self._check(time, size)
        self.reserve(1)
        self.add_fill(time, size)

    def allowed_nanos(self, nanos_t now):
        """Return the largest quantity that may be done at `now`, which never falls from call to call."""
        return self.allowed(now)

    def _check(self, nanos_t time, nanos_t size):
        if size < 0:
            raise ValueError(f"size is negative: {size}")
        if time < self.moments[self.count - 1].time:
            raise ValueError(f"time runs backwards: {time} after {self.moments[self.count - 1].time}")

    cdef int reserve(self, Py_ssize_t room) except -1:
        """Make room for so many more moments; those that no window reaches any more go first."""
        cdef Py_ssize_t gone, i
        cdef moment_t *moments
        cdef Py_ssize_t *tops
        if self.count + room <= self.capacity:
            return 0
        if self.count:
            self.advance(self.moments[self.count - 1].time)
            gone = self.tops[self.first_top]
            memmove(self.moments, self.moments + gone, (self.count - gone) * sizeof(moment_t))
            for i in range(self.first_top, self.end_top):
                self.tops[i - self.first_top] = self.tops[i] - gone
            self.end_top -= self.first_top
            self.first_top = 0
            self.count -= gone
            self.entered -= gone
        if self.count + room > self.capacity // 2:
            moments = <moment_t *>realloc(self.moments, 2 * (self.count + room) * sizeof(moment_t))
            if moments == NULL:
                raise MemoryError
            self.moments = moments
            tops = <Py_ssize_t *>realloc(self.tops, 2 * (self.count + room) * sizeof(Py_ssize_t))
            if tops == NULL:
                raise MemoryError
            self.tops = tops
            self.capacity = 2 * (self.count + room)
        return 0

    cdef void add(self, nanos_t time, wide_t change) noexcept nogil:
        # The caller has reserved the room and knows that `time` is not below the newest.
        self.level += change
        if self.moments[self.count - 1].time != time:
            self.moments[self.count].time = time
            self.count += 1
        self.moments[self.count - 1].level = self.level

    cdef void add_print(self, nanos_t time, nanos_t size) noexcept nogil:
        self.add(time, <wide_t>size * <wide_t>self.cap)

    cdef void add_fill(self, nanos_t time, nanos_t size) noexcept nogil:
        self.add(time, <wide_t>size * <wide_t>(self.cap - ONE))

    cdef void advance(self, nanos_t now) noexcept nogil:
        # Let in what is no later than now - shortest, let out what no start from now - window on can see.
        cdef nanos_t latest = now - self.shortest, oldest = now - self.window
        cdef wide_t level
        while self.entered < self.count and self.moments[self.entered].time <= latest:
            level = self.moments[self.entered].level
            while self.end_top > self.first_top and self.moments[self.tops[self.end_top - 1]].level <= level:
                self.end_top -= 1
            self.tops[self.end_top] = self.entered
            self.end_top += 1
            self.entered += 1
        while (
            self.tops[self.first_top] + 1 < self.count
            and self.moments[self.tops[self.first_top] + 1].time <= oldest
        ):
            self.first_top += 1

    cdef nanos_t allowed(self, nanos_t now) noexcept nogil:
        cdef wide_t room
        self.advance(now)
        room = self.level - self.moments[self.tops[self.first_top]].level
        if room <= <wide_t>0:
            return 0
        room = room // <wide_t>(ONE - self.cap)
        return LARGEST if high_half(room) or low_half(room) > <unsigned long long>LARGEST else <nanos_t>room
