# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""The participation cap, enforced on volume already seen.

Participation = own / (all eligible volume, own included). All quantities and times are int64 nanos; sums run in
integers of 128 bits, so nothing is rounded. Plain-Python twin: tests/native/twins.py.

What is promised. Let no own fill be larger than what `allowed_nanos` granted at its time. Then, at the time t of
every own fill, own <= cap * all holds over (t - window, t]. So over the whole of an execution whose tracker began with
it, own <= cap * all holds at every own fill: the windows that end at its fills, taken backwards, cover them all without
overlapping.

When the market falls silent, the volume that a fill answered leaves the window before the fill does, and no causal
rule keeps the window that ends *now* within the cap. `assumed_pace` says how little volume is looked ahead for: the
window that ends at any later u holds the cap too, as long as no more is done and what has traded since t is at least
that share of the present window's pace. Time is cut into buckets of a sixtieth of the window for this: a window that
is looked at begins with the bucket in which `window` before t lies, its pace is what traded in it by the bucket, and
only what whole buckets bring until u is counted on, one less than have begun. A larger pace leaves more room to catch
up on older volume, and breaks the cap more often when volume dies; with 0 the cap holds, at every fill, over every
trailing window.
Trades that are cancelled later can break the cap after the fact; nothing is then allowed until it holds again.
"""
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memmove

from native._checks cimport check_same_length, check_sizes, check_times
from native._types cimport nanos_t
from native._wide cimport high_half, low_half, wide_t, wide_to_int

cdef nanos_t ONE = 1_000_000_000
cdef nanos_t EARLIEST = -0x7fffffffffffffff
cdef nanos_t LARGEST = 0x7fffffffffffffff
cdef nanos_t BUCKETS = 60


cdef class EventLog:
    """Running totals of sizes over time, the oldest of them dropped."""

    def __cinit__(self):
        self.capacity = 64
        self.first = 0
        self.count = 0
        self.dropped = <wide_t>0
        self.events = <event_t *>malloc(self.capacity * sizeof(event_t))
        if self.events == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.events)

    cdef int reserve(self, Py_ssize_t room) except -1:
        """Make room for so many more events; moves what is left to the front first."""
        cdef event_t *larger
        if self.first + self.count + room <= self.capacity:
            return 0
        memmove(self.events, self.events + self.first, self.count * sizeof(event_t))
        self.first = 0
        if self.count + room > self.capacity // 2:
            larger = <event_t *>realloc(self.events, 2 * (self.count + room) * sizeof(event_t))
            if larger == NULL:
                raise MemoryError
            self.events = larger
            self.capacity = 2 * (self.count + room)
        return 0

    cdef void append(self, nanos_t time, nanos_t size) noexcept nogil:
        # The caller has reserved the room and knows that `time` is not below the newest.
        cdef Py_ssize_t at = self.first + self.count
        self.events[at].time = time
        self.events[at].total = (self.events[at - 1].total if self.count else self.dropped) + <wide_t>size
        self.count += 1

    cdef int insert(self, nanos_t time, nanos_t size) except -1:
        cdef Py_ssize_t at, i
        self.reserve(1)
        at = self.first + self.position(time + 1)
        memmove(
            self.events + at + 1, self.events + at, (self.first + self.count - at) * sizeof(event_t)
        )
        self.events[at].time = time
        self.events[at].total = self.events[at - 1].total if at > self.first else self.dropped
        self.count += 1
        for i in range(at, self.first + self.count):
            self.events[i].total += <wide_t>size
        return 0

    cdef int adjust(self, nanos_t time, nanos_t size, nanos_t change) except -1:
        # A time that was dropped has no window to be in; an unknown one is the caller's mistake.
        cdef Py_ssize_t i
        if self.count == 0 or time < self.events[self.first].time:
            return 0
        if self.total_before(time + 1) - self.total_before(time) < <wide_t>size:
            raise ValueError(f"no volume of {size} at {time} to take back")
        for i in range(self.first + self.position(time), self.first + self.count):
            self.events[i].total += <wide_t>change
        return 0

    cdef void drop(self, nanos_t time) noexcept nogil:
        """Forget events at or before `time`."""
        cdef Py_ssize_t old
        if self.count == 0 or self.events[self.first].time > time:
            return
        old = self.position(time + 1)
        self.dropped = self.events[self.first + old - 1].total
        self.first += old
        self.count -= old

    cdef nanos_t newest(self) noexcept nogil:
        return self.events[self.first + self.count - 1].time if self.count else EARLIEST

    cdef Py_ssize_t position(self, nanos_t time) noexcept nogil:
        """Return how many events are before `time`."""
        cdef Py_ssize_t low = 0, high = self.count, middle
        while low < high:
            middle = (low + high) // 2
            if self.events[self.first + middle].time < time:
                low = middle + 1
            else:
                high = middle
        return low

    cdef wide_t total_before(self, nanos_t time) noexcept nogil:
        cdef Py_ssize_t before = self.position(time)
        return self.events[self.first + before - 1].total if before else self.dropped


cdef class ParticipationTracker:
    """Own and eligible volume in a trailing window, and what may still be done under a cap.

    `window_nanos` is the trailing window of the cap, `assumed_pace` the share of its pace that volume is taken to keep,
    to 1e-9 (see the module); `own_on_tape` says whether own fills are among the prints that `add_volume` gets, as live.
    Volume before the tracker's first print is not counted: begin it with the execution, so that volume from before
    allows no burst. Raises ValueError unless 0 < window_nanos and 0 <= assumed_pace <= 1.
    """

    def __init__(self, nanos_t window_nanos=300 * ONE, *, double assumed_pace=0.0, own_on_tape=False):
        if window_nanos <= 0:
            raise ValueError(f"window_nanos must be above 0, not {window_nanos}")
        if not 0.0 <= assumed_pace <= 1.0:
            raise ValueError(f"assumed_pace must lie in 0..1, not {assumed_pace}")
        self.window = window_nanos
        self.length = (window_nanos - 1) // BUCKETS + 1
        self.pace = <nanos_t>(assumed_pace * ONE + 0.5)
        self.own_on_tape = own_on_tape
        self.tape = EventLog()
        self.own = EventLog()

    def add_volume(self, const nanos_t[::1] times, const nanos_t[::1] sizes):
        """Take a batch of eligible prints, in time order and not before the batch last taken.

        Raises ValueError, and takes nothing, for columns of different length, a negative size, or a time that runs
        backwards; the message names the index.
        """
        cdef Py_ssize_t i
        check_same_length(times.shape[0], sizes.shape[0], "times", "sizes")
        check_sizes(sizes)
        check_times(times, self.tape.newest())
        self.tape.reserve(times.shape[0])
        with nogil:
            for i in range(times.shape[0]):
                self.tape.append(times[i], sizes[i])
            self.drop_old()

    def add_own_fill(self, nanos_t time, nanos_t size):
        """Take one own fill at its time on the market; fills may come in any order. Raises ValueError below zero."""
        if size < 0:
            raise ValueError(f"size is negative: {size}")
        self.own.insert(time, size)
        self.drop_old()

    def correct_volume(self, nanos_t time, nanos_t size, nanos_t corrected_size=0):
        """Undo a print (`corrected_size` 0: it is cancelled) or change its size.

        A print that has left the window is ignored. Raises ValueError when there is no such volume at that time.
        """
        if size < 0 or corrected_size < 0:
            raise ValueError(f"a size is negative: {size}, {corrected_size}")
        self.tape.adjust(time, size, corrected_size - size)

    def correct_own_fill(self, nanos_t time, nanos_t size, nanos_t corrected_size=0):
        """Undo an own fill, as when the venue busts it, or change its size; otherwise as `correct_volume`."""
        if size < 0 or corrected_size < 0:
            raise ValueError(f"a size is negative: {size}, {corrected_size}")
        self.own.adjust(time, size, corrected_size - size)

    def allowed_nanos(self, nanos_t now, double cap):
        """Return the largest quantity that may be done at `now` without breaking the cap (a rate, to 1e-9).

        What already works in the market and can still fill counts against it: subtract it. `now` is market time, not
        more than one window before the newest event. Raises ValueError unless 0 <= cap < 1.
        """
        if not 0.0 <= cap < 1.0:
            raise ValueError(f"cap must lie in 0..1, below 1, not {cap}")
        return self.allowed(now, <nanos_t>(cap * ONE + 0.5))

    def own_nanos(self, now):
        """Return the own quantity in the window that ends at `now`."""
        return wide_to_int(self.own.total_before(now + 1) - self.own.total_before(now - self.window + 1))

    def volume_nanos(self, now):
        """Return the eligible volume, own included, in the window that ends at `now`."""
        return wide_to_int(self.volume_after(now - self.window, now))

    def participation_rate(self, now):
        """Return own / all in the window that ends at `now`; 0 when nothing traded."""
        volume = self.volume_nanos(now)
        return self.own_nanos(now) / volume if volume else 0.0

    cdef void drop_old(self) noexcept nogil:
        # Twice the window: a caller may ask for a time up to one window before the newest event.
        cdef nanos_t oldest = max(self.tape.newest(), self.own.newest()) - 2 * self.window - self.length
        self.tape.drop(oldest)
        self.own.drop(oldest)

    cdef wide_t volume_after(self, nanos_t start, nanos_t now) noexcept nogil:
        cdef wide_t volume = self.tape.total_before(now + 1) - self.tape.total_before(start + 1)
        if not self.own_on_tape:
            volume += self.own.total_before(now + 1) - self.own.total_before(start + 1)
        return volume

    cdef nanos_t allowed(self, nanos_t now, nanos_t cap) noexcept nogil:
        # With x more done at `now`, own + x <= cap * (all + to come + x) for every window that begins between the first
        # bucket and now. As it grows backwards, the room falls only where an own fill joins it or where less is to
        # come, so the last moment of each bucket and those of own fills are all there is to look at. An own fill
        # stamped later than `now` counts as done.
        cdef Py_ssize_t i
        cdef wide_t own = self.own.total_before(LARGEST), least, step
        cdef nanos_t oldest = floor_to(now - self.window + 1, self.length), newest = floor_to(now, self.length)
        cdef nanos_t begin
        step = self.volume_after(oldest - 1, now) * <wide_t>self.pace
        step = step // <wide_t>(((newest - oldest) // self.length + 1) * ONE) * <wide_t>cap
        least = self.room_from(now, now, oldest, own, step, cap)
        begin = oldest + self.length - 1
        while begin < now:
            least = min(least, self.room_from(begin, now, oldest, own, step, cap))
            begin += self.length
        for i in range(self.own.position(oldest), self.own.position(now + 1)):
            begin = self.own.events[self.own.first + i].time
            least = min(least, self.room_from(begin, now, oldest, own, step, cap))
        if least <= <wide_t>0:
            return 0
        least = least // <wide_t>(ONE - cap)
        return LARGEST if high_half(least) or low_half(least) > <unsigned long long>LARGEST else <nanos_t>least

    cdef wide_t room_from(
        self, nanos_t begin, nanos_t now, nanos_t oldest, wide_t own, wide_t step, nanos_t cap
    ) noexcept nogil:
        # cap * (all + to come) - own from `begin` to `now`, in units of 1e-18; so much of what is to come is a step.
        cdef nanos_t steps = max((begin - oldest) // self.length - 1, 0)
        cdef wide_t share = self.volume_after(begin - 1, now) * <wide_t>cap + step * <wide_t>steps
        return share - (own - self.own.total_before(begin)) * <wide_t>ONE


cdef inline nanos_t floor_to(nanos_t time, nanos_t length) noexcept nogil:
    # Times before 0 lie in the first bucket: nothing traded there.
    return time - time % length if time > 0 else 0
