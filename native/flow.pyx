# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Simulated order flow around one book: seeded, and the same for the same seed and the same participants' actions.

The flow believes in a fair price: a value that news moves, plus the pressure of what participants bought and sold.
Anonymous limit orders are placed around it with heavy-tailed distances, live for an exponential time, and are
taken back or hit when the fair price has passed them.

- Volume: U-shaped over the session, times a day's own factor, times the heat of the market.
- Volatility: three log-normal factors (minutes to hours) multiply variance and, damped, activity: clustering and
  fat tails (Calvet and Fisher 2002 for the idea of several horizons), and rare jumps.
- Signs: marketable orders come from programmes of Pareto length, so that their signs have a long memory (Lillo,
  Mike and Farmer 2005). A programme's expected sign is known to the fair price; only the surprise moves it, so
  prices stay unpredictable (Bouchaud, Kockelkoren and Potters 2006).
- Participants: the net volume V that they bought decays exponentially, and the fair price is shifted by
  daily volatility * sqrt(V / daily volume), with a small linear part that stays. Square-root impact of a volume
  that recovers exponentially admits no profitable round trip (Alfonsi and Schied 2010); what stays is linear
  because nothing else is free of arbitrage (Huberman and Stanzl 2004). Passive and aggressive fills weigh the
  same, or selling hard and buying back softly would pay.

The value has a random stream and a clock of its own: two runs of one seed see the same news, whatever
participants do. Nothing depends on how `advance` is cut into pieces.
"""

from libc.math cimport ceil, exp, floor, pow, sqrt
from libc.stdint cimport int32_t, int64_t, uint64_t

from native._random cimport exponential, normal, seed_random, uniform
from native.book cimport (
    FORCE_IMMEDIATE, FORCE_RESTING, KIND_LIMIT, MODE_CONTINUOUS, SIDE_BUY, SIDE_SELL,
    STP_CANCEL_INCOMING, Book, order_t,
)

cdef double SECOND = 1e9
cdef int64_t STEP_NANOS = 500_000_000
cdef int64_t QUOTE_NANOS = 100_000_000
cdef double PLACED_PER_TAKEN = 6.0
cdef double TARGET_ORDERS = 160.0
cdef double SURPRISE_SHARE = 0.20
cdef double PRESSURE_SECONDS = 900.0
cdef double LASTING_IMPACT = 1.5
cdef double SPREAD_SHARE = 0.015
cdef double JUMPS_A_DAY = 2.0
cdef double PROGRAMME_TAIL = 1.5
cdef int32_t LONGEST_PROGRAMME = 2_000
cdef double HEAT_SECONDS[3]
cdef double HEAT_DEVIATION[3]
HEAT_SECONDS[0], HEAT_SECONDS[1], HEAT_SECONDS[2] = 90.0, 1_200.0, 14_400.0
HEAT_DEVIATION[0], HEAT_DEVIATION[1], HEAT_DEVIATION[2] = 0.45, 0.55, 0.45


cdef double shape(double position) noexcept nogil:
    cdef double distance = 2.0 * position - 1.0
    distance *= distance
    return 0.6 + 0.9 * distance + 0.5 * distance * distance


def volume_shape(double position):
    """Return the expected rate of volume at `position` (0 open, 1 close) of a session; its mean is 1."""
    return shape(position)


cdef class Flow:
    """Everybody but the participants, for one instrument."""

    def __cinit__(self, Book book not None, uint64_t seed, double price_ticks, double daily_lots,
                  double daily_volatility):
        """Make a flow for `book`: first price in ticks, lots of an ordinary day, standard deviation of its return.

        Raises ValueError when one of them is not above 0.
        """
        cdef int index
        if not (price_ticks >= 1 and daily_lots >= 1 and daily_volatility > 0):
            raise ValueError("price, daily lots and daily volatility must be above 0")
        self.book = book
        self.daily_lots = daily_lots
        self.daily_volatility = daily_volatility
        self.orders_a_day = max(min(daily_lots / 50.0, 20_000.0), 200.0)
        self.order_lots = max(daily_lots / self.orders_a_day, 1.0)
        self.value = self.fair = price_ticks
        self.day_factor = self.busy = 1.0
        self.half_spread = 0.5
        seed_random(&self.news, seed * 2 + 1)
        seed_random(&self.chance, seed * 2)
        for index in range(3):
            self.heat[index] = HEAT_DEVIATION[index] * normal(&self.news)

    # ------------------------------------------------------------------ sessions and auctions

    def begin_session(self, int64_t open_time_nanos, int64_t close_time_nanos, double gap=0.4):
        """Begin a session: a gap of `gap` daily volatilities, a new day's factor, pressure gone."""
        if close_time_nanos <= open_time_nanos:
            raise ValueError("a session must close after it opens")
        self.open_time = open_time_nanos
        self.close_time = close_time_nanos
        self.next_step = self.next_arrival = 0
        self.value = max(self.value * exp(gap * self.daily_volatility * normal(&self.news)), 10.0)
        self.day_factor = exp(0.22 * normal(&self.news) - 0.0242)
        self.pressure = 0.0
        self.absorbed = self.book.participants_bought
        self.fair = self.value

    def collect(self, double share):
        """Send orders into a call: some `share` of a day's volume trades if participants stay away."""
        cdef double lots, deviation = max(0.12 * self.daily_volatility * self.value, 2.0)
        cdef int _index, side
        cdef double price
        self.refresh_fair()
        lots = 2.0 * share * self.daily_lots * self.day_factor / 150.0
        for _index in range(150):
            for side in range(2):
                price = max(floor(self.fair + deviation * normal(&self.chance) + 0.5), 1.0)
                self.book.enter(side, KIND_LIMIT, FORCE_RESTING, <int64_t> price,
                                <int64_t> max(lots * exponential(&self.chance), 1.0), 0, False, 0,
                                STP_CANCEL_INCOMING, 0)

    def settle(self):
        """After an uncross: take the auction's own orders out and set up an ordinary book."""
        cdef int side
        self.clear()
        self.refresh_fair()
        for side in range(<int> TARGET_ORDERS):
            self.place(side & 1)
        self.next_arrival = 0
        self.book.note_quote()

    def clear(self):
        """Take all anonymous orders out of the book."""
        while self.book.anonymous_count > 0:
            self.book.drop(self.book.anonymous[self.book.anonymous_count - 1])

    def advance(self, int64_t until_nanos):
        """Let everything happen up to and including `until_nanos`; in a phase without trading only the value moves."""
        with nogil:
            self.run_until(until_nanos)

    # ------------------------------------------------------------------ what can be known of it

    @property
    def fair_price(self):
        """The price that the flow believes in, in ticks."""
        return self.fair

    @property
    def fundamental(self):
        """The fair price without the pressure that decays, in ticks."""
        return self.value

    @property
    def participants_pressure(self):
        """Net lots that participants bought and that still press on the price."""
        return self.pressure

    def restore(self, double price_ticks, double pressure):
        """Go on from a price and a pressure that were read before a restart."""
        if price_ticks < 1:
            raise ValueError("the price must be above 0")
        self.value = price_ticks
        self.pressure = pressure
        self.refresh_fair()

    # ------------------------------------------------------------------ time

    cdef int run_until(self, int64_t until) except -1 nogil:
        cdef bint trading = self.book.state == MODE_CONTINUOUS
        if self.next_step == 0:
            self.next_step = max(self.book.now - self.book.now % STEP_NANOS, self.open_time) + STEP_NANOS
        while True:
            if trading and self.next_arrival == 0:
                self.draw_arrival()
            if trading and self.next_arrival < self.next_step:
                if self.next_arrival > until:
                    break
                self.book.now = self.next_arrival
                self.arrive()
                self.next_arrival = 0
            else:
                if self.next_step > until:
                    break
                self.book.now = self.next_step
                self.next_step += STEP_NANOS
                self.next_arrival = 0
                self.step()
                if trading:
                    self.correct_stale()
            if trading and self.book.now >= self.last_quote + QUOTE_NANOS:
                self.last_quote = self.book.now
                self.book.note_quote()
        self.book.now = until
        return 0

    cdef int step(self) except -1 nogil:
        """Half a second of news: heat, value, spread."""
        cdef double seconds = STEP_NANOS / SECOND
        cdef double session = (self.close_time - self.open_time) / SECOND
        cdef double position = (self.book.now - self.open_time) / SECOND / session
        cdef double heat = 0.0, keep, variance, season
        cdef int index
        position = min(max(position, 0.0), 1.0)
        for index in range(3):
            keep = exp(-seconds / HEAT_SECONDS[index])
            self.heat[index] = (keep * self.heat[index]
                                + HEAT_DEVIATION[index] * sqrt(1.0 - keep * keep) * normal(&self.news))
            heat += self.heat[index] - 0.5 * HEAT_DEVIATION[index] * HEAT_DEVIATION[index]
        season = shape(position)
        self.busy = season * self.day_factor * exp(min(0.5 * heat, 2.0))
        variance = pow(season, 0.8) * exp(min(heat, 3.0)) * seconds / session * (1.0 - SURPRISE_SHARE)
        self.value *= exp(self.daily_volatility * sqrt(variance) * normal(&self.news))
        if uniform(&self.news) < JUMPS_A_DAY * seconds / session:
            self.value *= exp(0.12 * self.daily_volatility * exponential(&self.news)
                              * (1.0 if uniform(&self.news) < 0.5 else -1.0))
        self.value = max(self.value, 10.0)
        self.pressure *= exp(-seconds / PRESSURE_SECONDS)
        self.half_spread = max(0.5 * SPREAD_SHARE * self.daily_volatility * self.value * exp(min(0.25 * heat, 1.0)),
                               0.5)
        self.refresh_fair()
        return 0

    cdef int refresh_fair(self) except -1 nogil:
        """Take in what participants traded since the last time."""
        cdef double bought = self.book.participants_bought - self.absorbed
        cdef double size
        self.absorbed = self.book.participants_bought
        self.pressure += bought
        self.value = max(self.value * exp(LASTING_IMPACT * self.daily_volatility * bought / self.daily_lots), 10.0)
        size = self.pressure if self.pressure > 0 else -self.pressure
        size = self.daily_volatility * sqrt(size / self.daily_lots) * self.value
        self.fair = max(self.value + (size if self.pressure > 0 else -size), 5.0)
        return 0

    # ------------------------------------------------------------------ orders

    cdef int draw_arrival(self) noexcept nogil:
        """Draw when the next anonymous order, taken, placed or taken back, comes."""
        cdef double taken = self.orders_a_day * self.busy / ((self.close_time - self.open_time) / SECOND)
        cdef double rate = taken * (1.0 + PLACED_PER_TAKEN
                                    + PLACED_PER_TAKEN * self.book.anonymous_count / TARGET_ORDERS)
        self.next_arrival = self.book.now + 1 + <int64_t> (exponential(&self.chance) / rate * SECOND)
        return 0

    cdef int arrive(self) except -1 nogil:
        cdef double draw = uniform(&self.chance) * (
            1.0 + PLACED_PER_TAKEN + PLACED_PER_TAKEN * self.book.anonymous_count / TARGET_ORDERS)
        self.refresh_fair()
        self.correct_stale()
        if draw < 1.0:
            self.take()
        elif draw < 1.0 + PLACED_PER_TAKEN:
            self.place(SIDE_BUY if uniform(&self.chance) < 0.5 else SIDE_SELL)
        else:
            self.thin_out()
        return 0

    cdef int64_t draw_lots(self) noexcept nogil:
        """Return a heavy-tailed size around the mean order."""
        cdef double lots = self.order_lots * exp(0.9 * normal(&self.chance) - 0.405)
        if uniform(&self.chance) < 0.03:
            lots *= pow(uniform(&self.chance), -1.0 / 1.6)
        lots = min(lots, 60.0 * self.order_lots)
        if lots > 150.0 and uniform(&self.chance) < 0.5:
            lots = 100.0 * floor(lots / 100.0 + 0.5)
        return <int64_t> max(lots, 1.0)

    cdef int take(self) except -1 nogil:
        """Send a marketable order of one of the programmes."""
        cdef int which = <int> (uniform(&self.chance) * PROGRAMMES), index, side
        cdef double expected = 0.0, surprise, reach, limit
        cdef int64_t lots
        for index in range(PROGRAMMES):
            if self.programme_left[index] > 0:
                expected += <double> self.programme_sign[index] / PROGRAMMES
        if self.programme_left[which] <= 0:
            self.programme_left[which] = <int32_t> min(pow(uniform(&self.chance), -1.0 / PROGRAMME_TAIL),
                                                       <double> LONGEST_PROGRAMME)
            self.programme_sign[which] = 1 if uniform(&self.chance) < 0.5 else -1
        self.programme_left[which] -= 1
        surprise = self.programme_sign[which] - expected
        side = SIDE_BUY if self.programme_sign[which] > 0 else SIDE_SELL
        lots = self.draw_lots()
        reach = self.half_spread + 2.0 + 2.0 * exponential(&self.chance)
        limit = ceil(self.fair + reach) if side == SIDE_BUY else max(floor(self.fair - reach), 1.0)
        self.book.enter(side, KIND_LIMIT, FORCE_IMMEDIATE, <int64_t> limit, lots, 0, False, 0,
                        STP_CANCEL_INCOMING, 0)
        self.value = max(self.value * exp(self.daily_volatility * sqrt(SURPRISE_SHARE / self.orders_a_day)
                                          * surprise / max(sqrt(self.busy), 0.3)), 10.0)
        self.refresh_fair()
        return 0

    cdef int place(self, int side) except -1 nogil:
        """Rest a limit order around the fair price, never through the other side."""
        cdef double distance = pow(uniform(&self.chance), -1.0 / 1.4) - 1.0
        cdef double scale = max(2.0 * self.half_spread, 1.0)
        cdef double price
        cdef int64_t best
        distance = min(distance * 1.2 * scale, 100.0 * scale)
        if side == SIDE_BUY:
            price = floor(self.fair - self.half_spread - distance)
            best = self.book.best_price(SIDE_SELL)
            if best > 0 and price >= best:
                price = best - 1
        else:
            price = ceil(self.fair + self.half_spread + distance)
            best = self.book.best_price(SIDE_BUY)
            if best > 0 and price <= best:
                price = best + 1
        if price < 1.0:
            return 0
        self.book.enter(side, KIND_LIMIT, FORCE_RESTING, <int64_t> price, self.draw_lots(), 0, False, 0,
                        STP_CANCEL_INCOMING, 0)
        return 0

    cdef int thin_out(self) except -1 nogil:
        """Take one anonymous order back."""
        cdef int32_t count = self.book.anonymous_count
        if count > 0:
            self.book.drop(self.book.anonymous[<int32_t> (uniform(&self.chance) * count)])
        return 0

    cdef int correct_stale(self) except -1 nogil:
        """Take back or hit what the fair price has passed, a few orders at a time."""
        cdef int side, _tries
        cdef int64_t best
        cdef int32_t index
        cdef order_t *order
        for _tries in range(6):
            best = self.book.best_price(SIDE_BUY)
            side = SIDE_BUY
            if best == 0 or best < self.fair:
                best = self.book.best_price(SIDE_SELL)
                side = SIDE_SELL
                if best == 0 or best > self.fair:
                    return 0
            index = self.book.levels[self.book.sides[side].levels[self.book.sides[side].count - 1]].head
            order = &self.book.orders[index]
            if order.owner == 0 and uniform(&self.chance) < 0.7:
                self.book.drop(index)
            else:
                self.book.enter(1 - side, KIND_LIMIT, FORCE_IMMEDIATE, best, self.draw_lots(), 0, False, 0,
                                STP_CANCEL_INCOMING, 0)
                self.refresh_fair()
        return 0
