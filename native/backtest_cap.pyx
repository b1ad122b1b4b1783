# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""The participation cap of `native.participation` for a replay, in constant time an event and memory.

A replay never goes back in time and is never corrected. With level(t) = cap * all(<= t) - own(<= t), what a window that
begins after t allows at `now` is level(now) - level(t), and what is to come by its end on top. That is the same for all
windows that begin in one bucket, so the highest level of each bucket is all there is to keep. Exact, in integers of 128
bits. Twin: `ParticipationTracker`.
"""
from native._types cimport nanos_t
from native._wide cimport high_half, low_half, wide_t

cdef nanos_t ONE = 1_000_000_000
cdef nanos_t LARGEST = 0x7fffffffffffffff
cdef nanos_t BUCKETS = 60


cdef class TrailingCap:
    """What may be done under `cap` (a rate, to 1e-9) in a trailing window.

    Times are not negative and never fall. Promises what `native.participation` does with the same `assumed_pace`, own
    fills not among the prints. Raises ValueError unless 0 <= cap < 1, 0 < window_nanos and 0 <= assumed_pace <= 1.
    """

    def __init__(self, double cap, nanos_t window_nanos=300 * ONE, *, double assumed_pace=0.0):
        cdef int slot
        if not 0.0 <= cap < 1.0:
            raise ValueError(f"cap must lie in 0..1, below 1, not {cap}")
        if window_nanos <= 0:
            raise ValueError(f"window_nanos must be above 0, not {window_nanos}")
        if not 0.0 <= assumed_pace <= 1.0:
            raise ValueError(f"assumed_pace must lie in 0..1, not {assumed_pace}")
        self.cap = <nanos_t>(cap * ONE + 0.5)
        self.pace = <nanos_t>(assumed_pace * ONE + 0.5)
        self.window = window_nanos
        self.length = (window_nanos - 1) // BUCKETS + 1
        self.level = self.volume = <wide_t>0
        self.time = self.newest = 0
        for slot in range(SLOTS):
            self.buckets[slot].top = self.buckets[slot].volume = <wide_t>0

    def add_volume(self, nanos_t time, nanos_t size):
        """Take one eligible print. Raises ValueError for a negative size or a time that runs backwards."""
        self._check(time, size)
        self.add_print(time, size)

    def add_own_fill(self, nanos_t time, nanos_t size):
        """Take one own fill. Raises ValueError for a negative size or a time that runs backwards."""
        self._check(time, size)
        self.add_fill(time, size)

    def allowed_nanos(self, nanos_t now):
        """Return the largest quantity that may be done at `now`. Raises ValueError for a time that runs backwards."""
        self._check(now, 0)
        return self.allowed(now)

    def _check(self, nanos_t time, nanos_t size):
        if size < 0:
            raise ValueError(f"size is negative: {size}")
        if time < self.time:
            raise ValueError(f"time runs backwards: {time} after {self.time}")

    cdef void add(self, nanos_t time, nanos_t size, wide_t change) noexcept nogil:
        if time > self.time:
            self.settle(time)
        self.level += change
        self.volume += <wide_t>size

    cdef void add_print(self, nanos_t time, nanos_t size) noexcept nogil:
        self.add(time, size, <wide_t>size * <wide_t>self.cap)

    cdef void add_fill(self, nanos_t time, nanos_t size) noexcept nogil:
        self.add(time, size, <wide_t>size * <wide_t>(self.cap - ONE))

    cdef void settle(self, nanos_t now) noexcept nogil:
        # What has come so far was before `now`: a window may begin right after it.
        cdef nanos_t bucket = now // self.length, first
        if (self.time + 1) // self.length == self.newest:
            self.buckets[self.newest % SLOTS].top = max(self.buckets[self.newest % SLOTS].top, self.level)
        first = max(self.newest + 1, bucket - SLOTS + 1)
        self.newest = bucket
        self.time = now
        while first <= bucket:
            self.buckets[first % SLOTS].top = self.level
            self.buckets[first % SLOTS].volume = self.volume
            first += 1

    cdef nanos_t allowed(self, nanos_t now) noexcept nogil:
        cdef nanos_t oldest, bucket
        cdef wide_t highest, step, room, to_come = <wide_t>0
        if now > self.time:
            self.settle(now)
        oldest = max(now - self.window + 1, 0) // self.length
        step = (self.volume - self.buckets[oldest % SLOTS].volume) * <wide_t>self.pace
        step = step // <wide_t>((self.newest - oldest + 1) * ONE) * <wide_t>self.cap
        highest = self.buckets[oldest % SLOTS].top
        for bucket in range(oldest + 1, self.newest + 1):
            highest = max(highest, self.buckets[bucket % SLOTS].top - to_come)
            to_come += step
        room = self.level - highest
        if room <= <wide_t>0:
            return 0
        room = room // <wide_t>(ONE - self.cap)
        return LARGEST if high_half(room) or low_half(room) > <unsigned long long>LARGEST else <nanos_t>room
