# cython: language_level=3, boundscheck=False, cdivision=True, auto_pickle=False, autotestdict=False
"""Schedules: how much of a parent order should be done by a given market time.

All quantities and times are int64 nanos. A schedule holds a curve (the planned share done by each bin edge) and the
plan in force. Both run in integers, so that targets never fall, are whole lots apart, and end at the quantity
exactly. Plain-Python twin: tests/native/twins.py.
"""
from fractions import Fraction

from libc.stdlib cimport free, malloc

from native._checks cimport check_same_length, check_sizes, check_times
from native._types cimport nanos_t
from native._wide cimport scale_floor, scale_nearest

cdef nanos_t WHOLE = <nanos_t>1 << WHOLE_BITS


def largest_remainder(quantity_nanos, lot_nanos, weights):
    """Split a quantity over bins in proportion to their weights, in whole lots, and return the list of nanos.

    Every bin gets its share rounded down; the lots that are left go to the largest remainders, earlier bins first,
    so the sum is exact. What the quantity holds beyond whole lots goes to the last bin with weight. (Hamilton's
    method.) Raises ValueError for a negative or not finite weight, or when none is above zero.
    """
    _check_positive("lot_nanos", lot_nanos)
    if quantity_nanos < 0:
        raise ValueError(f"quantity_nanos is negative: {quantity_nanos}")
    exact = _exact_weights(weights)
    total = sum(exact)
    lots, odd = divmod(int(quantity_nanos), int(lot_nanos))
    split = [divmod(lots * weight, total) for weight in exact]
    order = sorted(range(len(exact)), key=lambda i: (-split[i][1], i))
    left = lots - sum([whole for whole, _ in split])
    winners = set(order[:left])
    shares = [(whole + (i in winners)) * int(lot_nanos) for i, (whole, _) in enumerate(split)]
    shares[max([i for i, weight in enumerate(exact) if weight])] += odd
    return [int(share) for share in shares]


cdef class Schedule:
    """A curve over market time and the plan in force: the base of every schedule.

    Use `TwapSchedule` or `StaticVwapSchedule`, or those of the other modules: `AdaptiveVwapSchedule`, `PovSchedule`,
    `ShortfallSchedule`. All answer `target_nanos`; feed all of them what happens, each takes what concerns it.
    """

    def __cinit__(self):
        self.edges = NULL
        self.shares = NULL

    def __dealloc__(self):
        free(self.edges)
        free(self.shares)

    cdef int set_up(self, quantity_nanos, lot_nanos, edges, shares) except -1:
        cdef Py_ssize_t i
        _check_positive("quantity_nanos", quantity_nanos)
        _check_positive("lot_nanos", lot_nanos)
        self.quantity = quantity_nanos
        self.lot = lot_nanos
        self.bins = len(shares) - 1
        self.edges = <nanos_t *>malloc((self.bins + 1) * sizeof(nanos_t))
        self.shares = <nanos_t *>malloc((self.bins + 1) * sizeof(nanos_t))
        if self.edges == NULL or self.shares == NULL:
            raise MemoryError
        for i in range(self.bins + 1):
            self.edges[i] = edges[i]
            self.shares[i] = shares[i]
        self.start = self.edges[0]
        self.end = self.edges[self.bins]
        self.frozen = False
        self.plan(self.start, 0)
        return 0

    @property
    def quantity_nanos(self):
        """The whole quantity."""
        return self.quantity

    @property
    def lot_nanos(self):
        """The lot: targets are whole lots apart."""
        return self.lot

    @property
    def start_nanos(self):
        """The first moment of the schedule; nothing is to be done before it."""
        return self.start

    @property
    def end_nanos(self):
        """The moment by which the whole quantity is to be done."""
        return self.end

    @property
    def is_frozen(self):
        """Tell whether the schedule's clock stands still."""
        return self.frozen

    def target_nanos(self, nanos_t now):
        """Return the quantity to have done by `now`.

        It never falls between two plans, and steps by whole lots (the nearest, so it is within half a lot of the
        curve); from the end on it is the whole quantity, unless the clock is frozen or was resumed too late.
        """
        return self.target(now)

    def next_change_nanos(self, nanos_t now):
        """Return the earliest time after `now` at which the target is higher, or None when it stays as it is.

        None also while frozen: what comes next is then `resume`'s to say.
        """
        cdef nanos_t current = self.target(now), low = now, high = self.end, middle
        if self.frozen or self.target(self.end) <= current:
            return None
        with nogil:
            while high - low > 1:
                middle = low + (high - low) // 2
                if self.target(middle) > current:
                    high = middle
                else:
                    low = middle
        return high

    def planned_share(self, nanos_t now):
        """Return the share (0 to 1) of the whole that the curve, undisturbed, has done by `now`."""
        return self.share_at(now) / <double>WHOLE

    @property
    def unplanned_nanos(self):
        """The quantity that no plan covers: the clock was resumed, or the rest re-planned, at the end or later."""
        if self.plan_share < WHOLE:
            return 0
        return self.quantity - self.done

    def freeze(self, nanos_t now):
        """Stop the schedule's clock, as on a halt: the target stays what it is now. A second freeze changes nothing."""
        if not self.frozen:
            self.plan(now, self.target(now))
            self.frozen = True

    def resume(self, nanos_t now):
        """Start the clock again: what is left goes along the rest of the curve, without a jump at `now`.

        What the pause made impossible (resumed at the end or later) stays in `unplanned_nanos`. Without a freeze
        before it, this changes nothing. Raises ValueError when `now` is before the freeze.
        """
        if not self.frozen:
            return
        if now < self.plan_time:
            raise ValueError(f"resumed at {now}, before the freeze at {self.plan_time}")
        self.frozen = False
        self.plan(now, self.done)

    def replan(self, nanos_t now, nanos_t done_nanos):
        """Take `done_nanos` as done at `now` and spread the rest along what is left of the curve.

        The target at `now` is then `done_nanos`: whatever was missed or done too early, there is no burst. A frozen
        schedule stays frozen. Raises ValueError when `done_nanos` is negative or above the quantity.
        """
        if done_nanos < 0 or done_nanos > self.quantity:
            raise ValueError(f"done_nanos must lie in 0..{self.quantity}, not {done_nanos}")
        self.plan(now, done_nanos)

    def add_volume(self, const nanos_t[::1] times, const nanos_t[::1] sizes):
        """Take a batch of eligible prints, in time order; how a run of prints is cut into batches changes nothing.

        A schedule that is fixed beforehand ignores it. Raises ValueError, and takes nothing, for columns of different
        length, a negative size, or a time that runs backwards inside the batch.
        """
        cdef Py_ssize_t i
        check_same_length(times.shape[0], sizes.shape[0], "times", "sizes")
        check_sizes(sizes)
        if times.shape[0]:
            check_times(times, times[0])
        with nogil:
            for i in range(times.shape[0]):
                self.take_volume(times[i], sizes[i])

    def recount_volume(self):
        """Forget the volume that was added, to add it anew after a correction. The plan in force stays."""
        self.forget_volume()

    cdef void take_volume(self, nanos_t time, nanos_t size) noexcept nogil:
        pass

    cdef void forget_volume(self) noexcept nogil:
        pass

    cdef void plan(self, nanos_t now, nanos_t done) noexcept nogil:
        self.plan_time = now if now > self.start else self.start
        self.plan_share = self.share_at(now)
        self.done = done

    cdef nanos_t share_at(self, nanos_t now) noexcept nogil:
        # Bisection for the bin that holds `now`, then a straight line inside it.
        cdef Py_ssize_t low = 0, high = self.bins, middle
        if now <= self.start:
            return 0
        if now >= self.end:
            return WHOLE
        while high - low > 1:
            middle = (low + high) // 2
            if self.edges[middle] <= now:
                low = middle
            else:
                high = middle
        return self.shares[low] + scale_floor(
            self.shares[low + 1] - self.shares[low], now - self.edges[low], self.edges[low + 1] - self.edges[low]
        )

    cdef nanos_t target(self, nanos_t now) noexcept nogil:
        cdef nanos_t left = self.quantity - self.done, share, lots
        if self.frozen or now <= self.plan_time or self.plan_share >= WHOLE or left == 0:
            return self.done
        share = self.share_at(now)
        if share >= WHOLE:
            return self.quantity
        lots = scale_nearest(left // self.lot, share - self.plan_share, WHOLE - self.plan_share)
        return self.done + lots * self.lot


cdef class TwapSchedule(Schedule):
    """The same quantity in every equal stretch of market time.

    Raises ValueError when the quantity or the lot is not above zero, or the end not after the start.
    """

    def __init__(self, quantity_nanos, lot_nanos, start_nanos, end_nanos):
        if end_nanos <= start_nanos:
            raise ValueError(f"end_nanos {end_nanos} is not after start_nanos {start_nanos}")
        self.set_up(quantity_nanos, lot_nanos, (start_nanos, end_nanos), (0, WHOLE))


cdef class StaticVwapSchedule(Schedule):
    """A quantity along a volume curve that is fixed beforehand.

    `bin_edges_nanos` has one element more than `weights` and rises; the curve is clipped to start..end (a bin cut in
    two keeps the share of its weight that lies inside), and inside a bin runs straight. Raises ValueError for edges
    that do not rise, do not cover start..end, or weights that are negative, not finite or all zero there.
    """

    def __init__(self, quantity_nanos, lot_nanos, start_nanos, end_nanos, bin_edges_nanos, weights):
        if end_nanos <= start_nanos:
            raise ValueError(f"end_nanos {end_nanos} is not after start_nanos {start_nanos}")
        edges, shares = _clipped_curve(start_nanos, end_nanos, [int(edge) for edge in bin_edges_nanos], weights)
        self.set_up(quantity_nanos, lot_nanos, edges, shares)


def _clipped_curve(start, end, edges, weights):
    # Exact: a share is a fraction of whole numbers until it is rounded, once, to the unit of the curve.
    exact = _exact_weights(weights)
    if len(edges) != len(exact) + 1:
        raise ValueError(f"bin_edges_nanos has {len(edges)} elements, {len(exact)} weights need {len(exact) + 1}")
    for i in range(1, len(edges)):
        if edges[i] <= edges[i - 1]:
            raise ValueError(f"bin_edges_nanos[{i}] does not rise: {edges[i]} after {edges[i - 1]}")
    if start < edges[0] or end > edges[-1]:
        raise ValueError(f"bins cover {edges[0]}..{edges[-1]}, not the whole of {start}..{end}")
    inside = [start]
    sums = [Fraction(0)]
    for i, weight in enumerate(exact):
        low, high = max(edges[i], start), min(edges[i + 1], end)
        if low < high:
            inside.append(high)
            sums.append(sums[-1] + weight * Fraction(high - low, edges[i + 1] - edges[i]))
    if not sums[-1]:
        raise ValueError("weights are all zero between start_nanos and end_nanos")
    return inside, [int(part * WHOLE / sums[-1]) for part in sums]


def _exact_weights(weights):
    exact = []
    for i, weight in enumerate(weights):
        try:
            exact.append(Fraction(weight))
        except (ValueError, OverflowError):
            raise ValueError(f"weights[{i}] is not finite: {weight}") from None
        if weight < 0:
            raise ValueError(f"weights[{i}] is negative: {weight}")
    if not any(exact):
        raise ValueError("weights are all zero")
    return exact


cdef int _check_positive(str name, value) except -1:
    if value <= 0:
        raise ValueError(f"{name} must be above zero, not {value}")
    return 0
