# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""A backtest of parent orders against recorded prints: schedules, children, fills, impact.

A `Parent` carries a schedule and what its children do; `replay` gives every parent the same prints, in chunks of any
size, and each trades as if it were alone. At each step the schedule says how much to have done by the next one; the
children reach the market a latency later. A market child takes from the prints that follow, at most a stated share of
each; a passive one rests at the near touch of its decision, behind a queue. No print gives more than it traded, to
both children together, and nothing goes past the participation cap. What a fill costs beyond its print is the
`CostModel`'s. `Controls` are asked at every decision and before every fill: what they forbid is withdrawn at once, and
what was missed is planned anew when they let go. Plain-Python twin: tests/native/backtest_twin.py.
"""
from libc.math cimport fabs, fmax
from libc.string cimport memmove

from native._checks cimport check_same_length, check_sizes, check_times
from native._types cimport nanos_t
from native._wide cimport scale_floor, wide_t, wide_to_double, wide_to_int
from native.backtest_cap cimport TrailingCap
from native.backtest_controls cimport HALF, NORMAL, PASSIVE_ONLY, Controls
from native.backtest_costs cimport CostModel
from native.backtest_fills cimport FillLog, fill_t
from native.backtest_plan cimport Plan
from native.schedule cimport Schedule

cdef nanos_t ONE = 1_000_000_000
cdef nanos_t NEVER = 0x7fffffffffffffff
MOST_STEPS = MOST


cdef class Parent:
    """One parent order of a backtest: side +1 buys, -1 sells.

    `step_nanos` apart it decides, `latency_nanos` (below a step) later its children reach the market. `passive_steps`
    above 0 (to 64) rests each step's quantity at the near touch, behind `queue_nanos`, moves it there at every step,
    and sends at market what is left so many steps later; at 0 all goes at market. `print_share` (above 0, to 1) is
    what may be taken of a print; `cap` a `TrailingCap` or None; `limit_price_nanos` 0 for none; `rate_steps` (1 to 64)
    the steps over which the temporary impact measures the rate of trading. `revisions`, for an adaptive schedule, are
    (times, volumes, log_sd): from each time on, the forecast of every bin of the session.

    `controls` (or None) act as in live trading; `fallback` is the curve that an adaptive schedule gives way to while
    the deviation control holds.

    A cap, a cost model, controls, and a schedule that listens to volume serve one parent; the other schedules may
    serve many.
    Raises ValueError for values outside these ranges.
    """

    def __init__(
        self,
        Schedule schedule not None,
        int side,
        CostModel costs not None,
        *,
        step_nanos=60 * ONE,
        latency_nanos=0,
        passive_steps=0,
        rate_steps=15,
        queue_nanos=0,
        double print_share=1.0,
        TrailingCap cap=None,
        limit_price_nanos=0,
        revisions=None,
        Controls controls=None,
        Schedule fallback=None,
        keep_fills=True,
    ):
        if side not in (1, -1):
            raise ValueError(f"side must be 1 or -1, not {side}")
        if not 0 <= latency_nanos < step_nanos:
            raise ValueError(f"0 <= latency_nanos < step_nanos does not hold: {latency_nanos}, {step_nanos}")
        if not 0.0 < print_share <= 1.0:
            raise ValueError(f"print_share must lie above 0, to 1, not {print_share}")
        if not 0 <= passive_steps <= MOST_STEPS or not 1 <= rate_steps <= MOST_STEPS:
            raise ValueError(f"passive_steps {passive_steps} or rate_steps {rate_steps} is above {MOST_STEPS}, or none")
        if queue_nanos < 0 or limit_price_nanos < 0:
            raise ValueError("queue_nanos and limit_price_nanos must not be negative")
        self.schedule = schedule
        self.costs = costs
        self.cap = cap
        self.side = side
        self.sign = side
        self.step = step_nanos
        self.latency = latency_nanos
        self.passive_steps = passive_steps
        self.rate_steps = rate_steps
        self.queue = queue_nanos
        self.print_share = <nanos_t>(print_share * ONE + 0.5)
        self.limit = limit_price_nanos
        self.controls = controls
        self.fills = FillLog()
        self.keeps_fills = keep_fills
        self.lot = schedule.lot
        self.start = schedule.start
        self.end = schedule.end
        self.plan = Plan(schedule, revisions, fallback)
        self.listens = self.plan.listens
        self.next_decision = self.start
        self.next_arrival = NEVER
        self.next_moment = self.start
        self.bound = -NEVER
        # A step's worth of an ordinary day: what a rate is at least measured against.
        self.volume_floor = costs.daily_volume * 1e9 * (self.step / <double>(self.end - self.start))
        self.own_notional = self.market_notional = self.market_volume = <wide_t>0
        self.spread_e18 = self.impact_e18 = self.passive_quantity = <wide_t>0

    @property
    def quantity_nanos(self):
        """The whole quantity."""
        return self.schedule.quantity

    @property
    def residual_nanos(self):
        """What is not done."""
        return self.schedule.quantity - self.done_nanos

    @property
    def notional_e18(self):
        """Exact sum of price times size of the own fills, costs included."""
        return wide_to_int(self.own_notional)

    @property
    def spread_cost_e18(self):
        """Exact sum of what own fills paid (negative: earned) for the spread by the cost model."""
        return wide_to_int(self.spread_e18)

    @property
    def impact_cost_e18(self):
        """Exact sum of what own fills paid for impact by the cost model."""
        return wide_to_int(self.impact_e18)

    @property
    def passive_nanos(self):
        """The quantity that was done passively."""
        return wide_to_int(self.passive_quantity)

    @property
    def market_volume_nanos(self):
        """The market's volume from the start to the end of the schedule."""
        return wide_to_int(self.market_volume)

    @property
    def market_notional_e18(self):
        """Exact sum of price times size of the market's prints from the start to the end of the schedule."""
        return wide_to_int(self.market_notional)

    @property
    def impact_bps(self):
        """What the execution has moved the price by, at its last print, in bps."""
        return 1e4 * self.costs.displacement(self.bound)

    def fill_columns(self):
        """Return the fills as a dictionary of int64 columns by the names in `FILL_COLUMNS`, none if not kept."""
        return self.fills.columns()

    cdef void take(
        self,
        const nanos_t *times,
        const nanos_t *prices,
        const nanos_t *sizes,
        const nanos_t *takeable,
        Py_ssize_t count,
    ) noexcept nogil:
        cdef Py_ssize_t i
        cdef nanos_t now
        cdef bint is_capped = self.cap is not None
        for i in range(count):
            now = times[i]
            if now >= self.next_moment:
                self.move_to(now)
            if self.start <= now < self.end:
                if self.first_print_nanos == 0:
                    self.first_print_nanos = now
                    if self.arrival_price_nanos == 0:
                        self.arrival_price_nanos = prices[i]
                self.market_volume += <wide_t>sizes[i]
                self.market_notional += <wide_t>prices[i] * <wide_t>sizes[i]
                self.volume += <double>sizes[i]
                if is_capped:
                    self.cap.add_print(now, sizes[i])
                if self.listens:
                    self.schedule.take_volume(now, sizes[i])
                if self.market_leaves or self.passive_leaves:
                    self.fill_from(now, prices[i], takeable[i])
            self.last_price_nanos = prices[i]
        if count:
            self.bound = times[count - 1]
        self.event_count += count

    cdef void move_to(self, nanos_t now) noexcept nogil:
        # Decisions and arrivals in the order of their times, up to and with `now`: before the print at `now` is seen.
        while self.next_moment <= now:
            if self.next_arrival <= self.next_decision:
                self.arrive(self.next_arrival)
            else:
                self.decide(self.next_decision)
            self.next_moment = min(self.next_decision, self.next_arrival)

    cdef void decide(self, nanos_t now) noexcept nogil:
        cdef nanos_t aim, due
        if now >= self.end:
            self.market_leaves = self.passive_leaves = 0
            self.next_decision = self.next_arrival = NEVER
            return
        if self.next_decision == self.start and self.arrival_price_nanos == 0:
            self.arrival_price_nanos = self.last_price_nanos
        self.plan.revise(now)
        self.next_decision = min(now + self.step, self.end)
        memmove(self.volumes + 1, self.volumes, (self.rate_steps - 1) * sizeof(double))
        memmove(self.dones + 1, self.dones, (self.rate_steps - 1) * sizeof(double))
        self.volumes[0], self.dones[0] = self.volume, <double>self.done_nanos
        if self.controls is not None:
            if self.controls.take_answer(now):
                self.plan.begin_anew(now, self.done_nanos, True)
            self.control(now, self.costs.displacement(now) + self.temporary_impact(0))
        aim = self.plan.target(self.next_decision)
        due = aim
        if self.passive_steps:  # what rested long enough goes at market, the rest rests
            due = min(self.aims[self.passive_steps - 1], aim)
            memmove(self.aims + 1, self.aims, (self.passive_steps - 1) * sizeof(nanos_t))
            self.aims[0] = aim
        if self.controls is not None and not self.controls.is_normal():
            self.controls.controlled_nanos += self.next_decision - now
            if self.controls.is_stopped():
                return
            if self.controls.rate == HALF:
                aim = self.done_nanos + self.half(aim - self.done_nanos)
                due = self.done_nanos + self.half(due - self.done_nanos)
            if self.controls.mode == PASSIVE_ONLY:
                due = min(due, self.done_nanos)
        if aim > self.done_nanos:
            self.child_count += 1 + (self.done_nanos < due < aim)
        elif self.market_leaves == 0 and self.passive_leaves == 0:
            return
        self.coming_market = due
        self.coming_total = aim
        self.coming_mid = self.last_price_nanos
        self.coming_limit = self.last_price_nanos - self.side * <nanos_t>(
            self.costs.half_spread * <double>self.last_price_nanos + 0.5
        )
        self.next_arrival = now + self.latency

    cdef void arrive(self, nanos_t now) noexcept nogil:
        # The children of the decision replace those of the one before, less what these did in the meantime.
        cdef nanos_t at_market = max(self.done_nanos, self.coming_market)
        self.next_arrival = NEVER
        self.market_leaves = at_market - self.done_nanos
        self.market_mid = self.coming_mid
        self.passive_leaves = max(<nanos_t>0, self.coming_total - at_market)
        self.passive_limit = self.coming_limit
        self.passive_mid = self.coming_mid
        self.passive_queue = self.queue

    cdef bint control(self, nanos_t now, double impact) noexcept nogil:
        # Ask both controls, withdraw what they forbid of what works or is on its way; return whether they act anew.
        cdef double deviation = -1.0
        cdef int rate = self.controls.rate, mode = self.controls.mode
        cdef bint is_released, gives_way
        if <wide_t>self.done_nanos * <wide_t>10 >= <wide_t>self.schedule.quantity and self.market_volume > <wide_t>0:
            deviation = fabs(
                wide_to_double(self.own_notional) / <double>self.done_nanos
                / (wide_to_double(self.market_notional) / wide_to_double(self.market_volume))
                - 1.0
            )
        if not self.controls.take(now, impact, deviation):
            return False
        gives_way = self.controls.mode != NORMAL
        if self.controls.is_stopped():
            self.market_leaves = self.passive_leaves = 0
            self.next_arrival = NEVER
            self.next_moment = self.next_decision
        if self.controls.mode == PASSIVE_ONLY:
            self.market_leaves = 0
            self.coming_market = min(self.coming_market, self.done_nanos)
        if self.controls.rate == HALF and rate < HALF:
            self.market_leaves = self.half(self.market_leaves)
            self.passive_leaves = self.half(self.passive_leaves)
            self.coming_market = self.done_nanos + self.half(self.coming_market - self.done_nanos)
            self.coming_total = self.done_nanos + self.half(self.coming_total - self.done_nanos)
        is_released = self.controls.rate < rate or self.controls.mode < mode
        if is_released or (mode == NORMAL and gives_way and self.plan.fallback is not None):
            self.plan.begin_anew(now, self.done_nanos, gives_way)
        return True

    cdef nanos_t half(self, nanos_t leaves) noexcept nogil:
        # In whole lots; of less than two lots all, so that an order can end.
        return leaves if leaves < 2 * self.lot else leaves // 2 // self.lot * self.lot

    cdef double temporary_impact(self, nanos_t part) noexcept nogil:
        # At the rate of trading of late, a part that is about to be done included.
        cdef double others = fmax(self.volume - self.volumes[self.rate_steps - 1], self.volume_floor)
        cdef double rate = <double>self.done_nanos + <double>part - self.dones[self.rate_steps - 1]
        return self.costs.rate_impact(rate / (rate + others))

    cdef nanos_t whole_lots(self, nanos_t available, nanos_t leaves) noexcept nogil:
        # The odd rest of a quantity goes in one piece.
        if leaves <= available:
            return leaves
        return available - available % self.lot

    cdef void fill_from(self, nanos_t time, nanos_t price, nanos_t size) noexcept nogil:
        cdef nanos_t available = size, resting = size, part, moved
        cdef double displacement, impact
        if self.passive_leaves:
            resting = self.reach_limit(price, size)
        if self.print_share < ONE:
            available = scale_floor(size, self.print_share, ONE)
        if self.cap is not None:
            available = min(available, self.cap.allowed(time))
        if available <= 0:
            return
        displacement = self.costs.displacement(time)
        part = self.whole_lots(min(available, resting), self.passive_leaves)
        if part > 0:
            moved = self.side * <nanos_t>(displacement * <double>self.passive_limit + 0.5)
            if self.limit == 0 or self.side * (self.passive_limit + moved - self.limit) <= 0:
                if self.controls is not None:
                    impact = displacement + self.temporary_impact(part)
                    if self.control(time, impact):
                        part = min(part, self.passive_leaves)
                    if part > 0:
                        self.controls.audit(impact, True)
                if part > 0:
                    self.book(time, price, self.passive_limit + moved, part, self.passive_mid, displacement, True)
                    self.passive_leaves -= part
                    available -= part
        part = self.whole_lots(available, self.market_leaves)
        if part <= 0:
            return
        impact = displacement + self.temporary_impact(part)
        moved = self.side * <nanos_t>((self.costs.half_spread + impact) * <double>price + 0.5)
        if self.limit and self.side * (price + moved - self.limit) > 0:
            return
        if self.controls is not None:
            if self.control(time, impact):
                part = min(part, self.market_leaves)
                if part <= 0:
                    return
                impact = displacement + self.temporary_impact(part)
                moved = self.side * <nanos_t>((self.costs.half_spread + impact) * <double>price + 0.5)
            self.controls.audit(impact, False)
        self.book(time, price, price + moved, part, self.market_mid if self.market_mid else price, impact, False)
        self.market_leaves -= part

    cdef nanos_t reach_limit(self, nanos_t price, nanos_t size) noexcept nogil:
        # What of a print comes to the child that rests: all of one through its limit, where nobody is ahead any more;
        # of one at its limit what the queue leaves; of one that did not come so far, or before there is a price, none.
        cdef nanos_t better = self.side * (self.passive_limit - price), ahead
        if better < 0 or self.passive_limit <= 0:
            return 0
        if better > 0:
            self.passive_queue = 0
            return size
        ahead = min(self.passive_queue, size)
        self.passive_queue -= ahead
        return size - ahead

    cdef void book(
        self,
        nanos_t time,
        nanos_t print_price,
        nanos_t price,
        nanos_t size,
        nanos_t mid,
        double impact,
        bint is_passive,
    ) noexcept nogil:
        cdef nanos_t impact_nanos = self.side * <nanos_t>(
            impact * <double>(price if is_passive else print_price) + 0.5
        )
        cdef nanos_t spread = price - impact_nanos - (mid if is_passive else print_price)
        self.done_nanos += size
        self.own_notional += <wide_t>price * <wide_t>size
        self.impact_e18 += <wide_t>(self.side * impact_nanos) * <wide_t>size
        self.spread_e18 += <wide_t>(self.side * spread) * <wide_t>size
        if is_passive:
            self.passive_quantity += <wide_t>size
        self.costs.push(time, <double>size * 1e-9)
        if self.cap is not None:
            self.cap.add_fill(time, size)
        if self.keeps_fills and not self.fills.add(fill_t(time, price, size, mid, impact_nanos, is_passive)):
            self.is_out_of_memory = True
        self.fill_count += 1


def replay(
    parents,
    const nanos_t[::1] times,
    const nanos_t[::1] prices,
    const nanos_t[::1] sizes,
    const nanos_t[::1] takeable=None,
):
    """Give every parent the next chunk of prints, in time order; how a run is cut into chunks changes nothing.

    Prices and sizes in nanos, times UTC. `takeable` is what could be had of each print, up to its size: nothing of
    one that was made off exchange or in an auction; all of every print by default. Raises ValueError, and takes
    nothing, for columns of different length, a size below zero, more takeable than traded, or a time that runs
    backwards, also against the chunk before.
    """
    cdef Py_ssize_t i, count = times.shape[0]
    cdef Parent parent
    check_same_length(count, prices.shape[0], "times", "prices")
    check_same_length(count, sizes.shape[0], "times", "sizes")
    check_sizes(sizes)
    if takeable is None:
        takeable = sizes
    else:
        check_same_length(count, takeable.shape[0], "times", "takeable")
        for i in range(count):
            if not 0 <= takeable[i] <= sizes[i]:
                raise ValueError(f"takeable[{i}] is outside 0..{sizes[i]}: {takeable[i]}")
    if count == 0:
        return
    for parent in parents:
        check_times(times, parent.bound)
    for parent in parents:
        with nogil:
            parent.take(&times[0], &prices[0], &sizes[0], &takeable[0], count)
        if parent.is_out_of_memory:
            raise MemoryError("no room for more fills")


def finish(parents, nanos_t now):
    """Let market time pass to `now` without a print: what is still to be decided is decided, what works ends."""
    cdef Parent parent
    for parent in parents:
        parent.move_to(now)
        parent.bound = max(parent.bound, now)
