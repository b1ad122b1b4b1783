# cython: language_level=3, cdivision=True, auto_pickle=False, autotestdict=False
"""Percentage of volume: a stated share of what trades, as it trades.

Own / (all eligible volume, own included) is held at a target rate on volume already seen, so the target rises with
prints and never with time alone, and the end of the horizon may come with a residual. All quantities and times are
int64 nanos; sums run in integers of 128 bits. Plain-Python twin: tests/native/schedule_twins.py.
"""
from libc.stdlib cimport free, malloc

from native._types cimport nanos_t
from native._wide cimport high_half, wide_t, wide_to_double
from native.schedule cimport WHOLE_BITS, Schedule

cdef nanos_t WHOLE = <nanos_t>1 << WHOLE_BITS
cdef nanos_t ONE = 1_000_000_000
cdef Py_ssize_t MOST_SLICES = 100_000


cdef class PovSchedule(Schedule):
    """A quantity that follows the market's volume at `rate`, a fraction (to 1e-9) above 0 and below 1.

    `own_on_tape` says whether own fills are among the prints that `add_volume` gets: then own = rate * volume, else
    own = rate / (1 - rate) * volume. A target asked for an earlier time is that of the start of its slice of
    `slice_nanos`. Volume at or after the end does not count. Raises ValueError for a rate outside its range, a slice
    that is not above zero, or that cuts the horizon into more than 100,000.
    """

    def __cinit__(self):
        self.before = NULL

    def __dealloc__(self):
        free(self.before)

    def __init__(
        self,
        quantity_nanos,
        lot_nanos,
        start_nanos,
        end_nanos,
        rate,
        slice_nanos=60_000_000_000,
        *,
        own_on_tape=True,
    ):
        if end_nanos <= start_nanos:
            raise ValueError(f"end_nanos {end_nanos} is not after start_nanos {start_nanos}")
        if not 0.0 < rate < 1.0:
            raise ValueError(f"rate must lie between 0 and 1, not {rate}")
        if slice_nanos <= 0 or (end_nanos - start_nanos) // slice_nanos >= MOST_SLICES:
            raise ValueError(f"slice_nanos {slice_nanos} is not above zero or cuts the horizon too fine")
        self.own_share = max(1, round(rate * ONE))
        self.market_share = ONE if own_on_tape else ONE - self.own_share
        self.slice = slice_nanos
        self.slices = (end_nanos - start_nanos) // slice_nanos + 1
        self.before = <wide_t *>malloc(self.slices * sizeof(wide_t))
        if self.before == NULL:
            raise MemoryError
        self.start = start_nanos
        self.forget_volume()
        self.set_up(quantity_nanos, lot_nanos, [start_nanos, end_nanos], [0, WHOLE])

    @property
    def rate(self):
        """The target rate, a fraction."""
        return self.own_share / <double>ONE

    @property
    def observed_shares(self):
        """Eligible volume that was added since the plan in force began, in shares."""
        return wide_to_double(self.total - self.plan_total) / ONE

    cdef void take_volume(self, nanos_t time, nanos_t size) noexcept nogil:
        cdef Py_ssize_t index
        if time < self.start or time >= self.end:
            return
        index = (time - self.start) // self.slice
        while self.begun < index:
            self.begun += 1
            self.before[self.begun] = self.total
        self.total += <wide_t>size
        if time <= self.plan_time:
            self.plan_total = self.total
        if time > self.last_time:
            self.last_time = time

    cdef void forget_volume(self) noexcept nogil:
        self.total = <wide_t>0
        self.plan_total = <wide_t>0
        self.begun = 0
        self.before[0] = <wide_t>0
        self.last_time = self.start

    cdef void plan(self, nanos_t now, nanos_t done) noexcept nogil:
        self.plan_time = now if now > self.start else self.start
        self.plan_share = WHOLE if self.plan_time >= self.end else 0
        self.plan_total = self.total
        self.done = done

    cdef wide_t volume_by(self, nanos_t now) noexcept nogil:
        cdef Py_ssize_t index
        if now >= self.last_time:
            return self.total
        index = (now - self.start) // self.slice
        return self.before[index] if index <= self.begun else self.total

    cdef nanos_t share_at(self, nanos_t now) noexcept nogil:
        return <nanos_t>(<double>WHOLE * (<double>self.target(now) / <double>self.quantity) * (1.0 - 1e-15))

    cdef nanos_t target(self, nanos_t now) noexcept nogil:
        cdef nanos_t left = self.quantity - self.done, own
        cdef wide_t volume, wanted
        if self.frozen or now <= self.plan_time or self.plan_share >= WHOLE or left == 0:
            return self.done
        volume = self.volume_by(now) - self.plan_total
        if volume <= <wide_t>0:
            return self.done
        if high_half(volume):  # beyond any market: 2**64 nanos are 18 billion shares
            return self.quantity
        wanted = volume * <wide_t>self.own_share // <wide_t>self.market_share
        if wanted >= <wide_t>left:
            return self.quantity
        own = <nanos_t>wanted
        return self.done + own // self.lot * self.lot
