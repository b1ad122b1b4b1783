# cython: language_level=3, cdivision=True, auto_pickle=False, autotestdict=False
"""Adaptive VWAP: the executed share follows E[V(<= t) / V(total) | what is known now].

Without a cost of trading, and with a price that is a martingale, the expected squared distance from the VWAP is least
when the share done by the end of each bin is the conditional expectation of the market's share (Busseti and Boyd,
"Volume weighted average price optimal execution", 2015). Known at a revision are the volume V since the plan began,
and a forecast of what is to come: A until an edge, R in all. The forecast's level is uncertain: both are multiplied
by e^z, z normal with mean -s^2/2 and standard deviation s, so the share is the mean of (V + A e^z) / (V + R e^z),
taken by Gauss and Hermite's rule with five points. At s = 0 it is the plug-in (V + A) / (V + R).

Times and quantities are int64 nanos, volumes of the forecast doubles in shares. Plain-Python twin:
tests/native/schedule_twins.py.
"""
from array import array

from libc.math cimport exp, fmax, fmin, isfinite, log
from libc.stdlib cimport free, malloc

from native._types cimport nanos_t
from native._wide cimport scale_floor, wide_t, wide_to_double
from native.schedule cimport WHOLE_BITS, Schedule

cdef nanos_t WHOLE = <nanos_t>1 << WHOLE_BITS
cdef double ONE_SHARE = 1e9

# Gauss-Hermite, five points: abscissas times sqrt(2), weights over sqrt(pi) (Abramowitz and Stegun, table 25.10).
cdef double[5] NODES = [-2.8569700138728056, -1.3556261799742659, 0.0, 1.3556261799742659, 2.8569700138728056]
cdef double[5] WEIGHTS = [
    0.011257411327720689, 0.22207592200561266, 0.53333333333333333, 0.22207592200561266, 0.011257411327720689
]


cdef class AdaptiveVwapSchedule(Schedule):
    """A quantity along the market's volume as it comes, revised whenever the forecast is.

    `bin_edges_nanos` (rising, covering start..end) and `volumes` (expected shares of each bin, one fewer) describe
    the whole session. `log_sd` is the standard deviation of the log of the level of what is to come, 0 when it is
    taken as known. `tolerance` is how far, as a share of the plan, liquidity may move the target of the present bin
    before or behind the expectation; it tapers to nothing at both ends. `capacity_rate` is what the plan counts on
    doing for each share that is still expected to trade: what is left beyond that is due at once, so that an order that
    is large beside its cap begins early (0: no such bound). Raises ValueError for what `StaticVwapSchedule` refuses,
    for a `log_sd` outside 0..2, a tolerance outside 0..0.25 and a negative or infinite capacity_rate.
    """

    def __cinit__(self):
        self.session_edges = NULL
        self.volumes = NULL

    def __dealloc__(self):
        free(self.session_edges)
        free(self.volumes)

    def __init__(
        self,
        quantity_nanos,
        lot_nanos,
        start_nanos,
        end_nanos,
        bin_edges_nanos,
        volumes,
        log_sd=0.0,
        tolerance=0.0,
        *,
        capacity_rate=0.0,
    ):
        cdef Py_ssize_t i
        edges = [int(edge) for edge in bin_edges_nanos]
        expected = [float(volume) for volume in volumes]
        _check_bins(edges, len(expected), start_nanos, end_nanos)
        _check_forecast(expected, log_sd)
        if not 0.0 <= tolerance <= 0.25:
            raise ValueError(f"tolerance must lie in 0..0.25, not {tolerance}")
        self.session_bins = len(expected)
        self.session_edges = <nanos_t *>malloc(len(edges) * sizeof(nanos_t))
        self.volumes = <double *>malloc(len(expected) * sizeof(double))
        if self.session_edges == NULL or self.volumes == NULL:
            raise MemoryError
        for i in range(len(edges)):
            self.session_edges[i] = edges[i]
        for i in range(len(expected)):
            self.volumes[i] = expected[i]
        if not 0.0 <= capacity_rate < 1e6:
            raise ValueError(f"capacity_rate must be finite and not negative, not {capacity_rate}")
        self.log_sd = log_sd
        self.tolerance = tolerance
        self.capacity_rate = capacity_rate
        self.first_bin = max([i for i in range(len(expected)) if edges[i] <= start_nanos])
        inside = [start_nanos, *[edge for edge in edges if start_nanos < edge < end_nanos], end_nanos]
        self.set_up(quantity_nanos, lot_nanos, inside, [0] * len(inside))

    @property
    def observed_shares(self):
        """Eligible volume that was added since the plan in force began, in shares."""
        return wide_to_double(self.observed) / ONE_SHARE

    def revise(self, nanos_t now, volumes, double log_sd=0.0):
        """Take a new forecast (shares of every bin of the session; what is over is not read) and draw the curve anew.

        The target at `now` stays what it is: what the news changes is spread over the rest of the present bin. While
        frozen the forecast is kept for later. Raises ValueError for a forecast of another length, or that is
        negative, not finite, or empty from now to the end: the curve then stays as it was.
        """
        cdef double[::1] column
        values = array("d", volumes)
        if len(values) != self.session_bins:
            raise ValueError(f"volumes has {len(values)} elements, the session has {self.session_bins} bins")
        column = values
        if not self.revise_at(now, &column[0], log_sd):
            raise ValueError(f"the forecast is negative, not finite or empty after {now}, or log_sd {log_sd} is")

    def sense(self, double spread=1.0, double depth=1.0, double volume=1.0, double volatility=1.0):
        """Take what the market is like now, each as a multiple of what is usual; what is not above zero is unknown.

        A narrow spread, a deep book and more volume than expected let the next revision run ahead inside the
        tolerance, their opposites behind. Volatility above the usual narrows the tolerance, because then each share
        that is early or late costs more.
        """
        self.sense_market(spread, depth, volume, volatility)

    @property
    def liquidity_score(self):
        """What `sense` made of the market: -1 (scarce) to 1 (plenty)."""
        return self.liquidity

    cdef bint revise_at(self, nanos_t now, const double *volumes, double log_sd) noexcept nogil:
        # The new forecast replaces the old one only when it is usable as a whole.
        cdef Py_ssize_t i
        cdef nanos_t low, high
        cdef double ahead = 0.0
        if not 0.0 <= log_sd <= 2.0:
            return False
        for i in range(self.session_bins):
            low = max(self.session_edges[i], max(now, self.start))
            high = min(self.session_edges[i + 1], self.end)
            if low < high:
                if not (isfinite(volumes[i]) and volumes[i] >= 0.0):
                    return False
                ahead += volumes[i]
        if now < self.end and not (ahead > 0.0 and isfinite(ahead)):
            return False
        for i in range(self.session_bins):
            if self.session_edges[i + 1] > now:
                self.volumes[i] = volumes[i]
        self.log_sd = log_sd
        if not self.frozen and self.plan_share < WHOLE and now > self.plan_time:
            self.draw(now, wide_to_double(self.observed) / ONE_SHARE, self.liquidity)
        elif not self.frozen and self.plan_share < WHOLE:
            self.plan(self.plan_time, self.done)
        return True

    cdef void sense_market(self, double spread, double depth, double volume, double volatility) noexcept nogil:
        cdef double score = 0.0
        if spread > 0.0:
            score -= fmin(fmax(log(spread), -1.0), 1.0)
        if depth > 0.0:
            score += fmin(fmax(log(depth), -1.0), 1.0)
        if volume > 0.0:
            score += fmin(fmax(log(volume), -1.0), 1.0)
        self.liquidity = score / 3.0
        self.tightness = fmin(fmax(volatility, 0.5), 4.0) if volatility > 0.0 else 1.0

    cdef void take_volume(self, nanos_t time, nanos_t size) noexcept nogil:
        if self.plan_time < time < self.end:
            self.observed += <wide_t>size

    cdef void forget_volume(self) noexcept nogil:
        self.observed = <wide_t>0

    cdef void plan(self, nanos_t now, nanos_t done) noexcept nogil:
        # A plan is a small execution of its own: what is left, over the volume from now to the end.
        cdef Py_ssize_t i
        self.plan_time = now if now > self.start else self.start
        self.done = done
        self.observed = <wide_t>0
        self.tightness = self.tightness if self.tightness > 0.0 else 1.0
        self.plan_share = WHOLE if self.plan_time >= self.end else 0
        self.knot_time = self.last_knot_time = self.plan_time
        self.knot_share = self.last_knot_share = 0
        for i in range(self.bins + 1):
            self.shares[i] = 0
        self.draw(self.plan_time, 0.0, 0.0)

    cdef void draw(self, nanos_t now, double seen, double lean) noexcept nogil:
        # Redraw the curve after `now`; what lies before it stays.
        cdef Py_ssize_t i, k, points = 5 if self.log_sd > 0.0 else 1
        cdef nanos_t present = self.share_at(now), begin, share
        cdef double ahead = 0.0, until = 0.0, mean, left = <double>(self.quantity - self.done) / ONE_SHARE
        cdef double[5] level
        cdef bint is_next = True
        if now > self.knot_time:
            self.last_knot_time = self.knot_time
            self.last_knot_share = self.knot_share
            self.knot_time = now
            self.knot_share = present
        for k in range(points):
            level[k] = exp(self.log_sd * NODES[k] - 0.5 * self.log_sd * self.log_sd) if points > 1 else 1.0
        for i in range(1, self.bins + 1):
            if self.edges[i] > now:
                ahead += self.expected(i, max(self.edges[i - 1], now))
        begin = present
        for i in range(1, self.bins + 1):
            if self.edges[i] <= now:
                continue
            until += self.expected(i, max(self.edges[i - 1], now))
            if ahead > 0.0:
                mean = (seen + until) / (seen + ahead) if points == 1 else 0.0
                if points > 1:
                    for k in range(points):
                        mean += WEIGHTS[k] * (seen + until * level[k]) / (seen + ahead * level[k])
            else:  # nothing is expected any more: equal quantities in equal times
                mean = (begin + (WHOLE - begin) * ((self.edges[i] - now) / <double>(self.end - now))) / <double>WHOLE
            if is_next:
                mean += lean * self.tolerance * 4.0 * mean * (1.0 - mean) / self.tightness
                is_next = False
            if self.capacity_rate > 0.0 and left > 0.0:
                mean = fmax(mean, 1.0 - self.capacity_rate * (ahead - until) / left)
            share = WHOLE if i == self.bins or mean >= 1.0 else <nanos_t>(fmax(mean, 0.0) * <double>WHOLE)
            present = max(present, share)
            self.shares[i] = present

    cdef double expected(self, Py_ssize_t i, nanos_t begin) noexcept nogil:
        # Volume expected in the schedule's bin that ends at edge i, from `begin` on: by the time that lies inside.
        cdef Py_ssize_t j = self.first_bin + i - 1
        return self.volumes[j] * (
            <double>(self.edges[i] - begin) / <double>(self.session_edges[j + 1] - self.session_edges[j])
        )

    cdef nanos_t share_at(self, nanos_t now) noexcept nogil:
        # A straight line between the nearest of: bin edges, the knot of the present curve, the knot before it.
        cdef Py_ssize_t low = 0, high = self.bins, middle
        cdef nanos_t low_time, low_share, high_time, high_share
        if self.plan_share >= WHOLE or now >= self.end:
            return WHOLE
        if now <= self.plan_time:
            return 0
        while high - low > 1:
            middle = (low + high) // 2
            if self.edges[middle] <= now:
                low = middle
            else:
                high = middle
        low_time, low_share = self.edges[low], self.shares[low]
        high_time, high_share = self.edges[high], self.shares[high]
        if self.plan_time > low_time:
            low_time, low_share = self.plan_time, 0
        if low_time <= self.last_knot_time <= now:
            low_time, low_share = self.last_knot_time, self.last_knot_share
        elif now < self.last_knot_time < high_time:
            high_time, high_share = self.last_knot_time, self.last_knot_share
        if low_time <= self.knot_time <= now:
            low_time, low_share = self.knot_time, self.knot_share
        elif now < self.knot_time < high_time:
            high_time, high_share = self.knot_time, self.knot_share
        return low_share + scale_floor(high_share - low_share, now - low_time, high_time - low_time)


def _check_bins(edges, count, start, end):
    if end <= start:
        raise ValueError(f"end_nanos {end} is not after start_nanos {start}")
    if len(edges) != count + 1:
        raise ValueError(f"bin_edges_nanos has {len(edges)} elements, {count} volumes need {count + 1}")
    for i in range(1, len(edges)):
        if edges[i] <= edges[i - 1]:
            raise ValueError(f"bin_edges_nanos[{i}] does not rise: {edges[i]} after {edges[i - 1]}")
    if start < edges[0] or end > edges[-1]:
        raise ValueError(f"bins cover {edges[0]}..{edges[-1]}, not the whole of {start}..{end}")


def _check_forecast(volumes, log_sd):
    for i, volume in enumerate(volumes):
        if not isfinite(volume):
            raise ValueError(f"volumes[{i}] is not finite: {volume}")
        if volume < 0:
            raise ValueError(f"volumes[{i}] is negative: {volume}")
    if not any(volumes):
        raise ValueError("volumes are all zero")
    if not 0.0 <= log_sd <= 2.0:
        raise ValueError(f"log_sd must lie in 0..2, not {log_sd}")
