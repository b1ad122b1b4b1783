# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""What trading costs in a backtest: half the spread, temporary impact, and a displacement of the price that fades.

As fractions of the price (sigma daily volatility, V daily volume, x shares done, p own / all volume of late):
temporary * sigma * p^power, Almgren, Thum, Hauptmann and Li, "Direct estimation of equity market impact" (2005), with
their coefficient and power as defaults, in volume time; permanent * sigma * x / V, likewise theirs, of which a share
stays and the rest fades exponentially; and root * sigma * sqrt(x / V), the square-root law, on what is left of x.
"""
from libc.math cimport exp, fmax, pow, sqrt

from native._types cimport nanos_t


cdef class CostModel:
    """What trading costs, and the impact of one execution so far.

    `half_spread_bps` of the price; `daily_volatility` a fraction, `daily_volume` in shares; the coefficients as in
    the module's text; `permanent_share` (0 to 1) of the displacement stays, the rest halves every
    `half_life_seconds`. The defaults are Almgren's (0.142, 0.6, 0.314) with the linear law; `root` above zero adds
    the square-root law. Nothing here is calibrated to a market. Raises ValueError for values that are negative, not
    finite, or without volume.
    """

    def __init__(
        self,
        double half_spread_bps,
        double daily_volatility,
        double daily_volume,
        *,
        double temporary=0.142,
        double temporary_power=0.6,
        double permanent=0.314,
        double permanent_share=1.0,
        double half_life_seconds=1800.0,
        double root=0.0,
    ):
        for name, value in (
            ("half_spread_bps", half_spread_bps),
            ("daily_volatility", daily_volatility),
            ("temporary", temporary),
            ("temporary_power", temporary_power),
            ("permanent", permanent),
            ("permanent_share", permanent_share),
            ("root", root),
        ):
            if not 0.0 <= value < 1e6:
                raise ValueError(f"{name} must be finite and not negative, not {value}")
        if permanent_share > 1.0:
            raise ValueError(f"permanent_share must lie in 0..1, not {permanent_share}")
        if not 0.0 < daily_volume < 1e18:
            raise ValueError(f"daily_volume must be above zero, not {daily_volume}")
        if not 0.0 < half_life_seconds < 1e9:
            raise ValueError(f"half_life_seconds must be above zero, not {half_life_seconds}")
        self.half_spread = half_spread_bps * 1e-4
        self.volatility = daily_volatility
        self.daily_volume = daily_volume
        self.temporary = temporary
        self.temporary_power = temporary_power
        self.permanent = permanent
        self.permanent_share = permanent_share
        self.decay_nanos = half_life_seconds * 1e9 / 0.6931471805599453
        self.root = root
        self.begin()

    def clean_up_bps(self, nanos_t now, double shares, double volume):
        """Return what it would cost, in bps, to do `shares` at once at `now` beside `volume` shares of others."""
        if shares <= 0.0:
            return 0.0
        rate = shares / (shares + fmax(volume, 0.0))
        return 1e4 * (self.half_spread + self.displacement(now) + self.rate_impact(rate))

    cdef void begin(self) noexcept nogil:
        self.lasting = 0.0
        self.fading = 0.0
        self.fading_time = 0

    cdef double displacement(self, nanos_t now) noexcept nogil:
        # What the execution has moved the price by.
        cdef double fading = self.fading
        if fading > 0.0 and now > self.fading_time:
            fading *= exp((self.fading_time - now) / self.decay_nanos)
        return self.volatility * (
            self.permanent * (self.lasting + fading)
            + (self.root * sqrt(self.lasting + fading) if self.root > 0.0 else 0.0)
        )

    cdef double rate_impact(self, double participation) noexcept nogil:
        if self.temporary == 0.0 or participation <= 0.0:
            return 0.0
        return self.temporary * self.volatility * pow(participation, self.temporary_power)

    cdef void push(self, nanos_t now, double shares) noexcept nogil:
        cdef double part = shares / self.daily_volume
        if self.permanent_share < 1.0:
            if self.fading > 0.0 and now > self.fading_time:
                self.fading *= exp((self.fading_time - now) / self.decay_nanos)
            self.fading_time = now
            self.fading += part * (1.0 - self.permanent_share)
        self.lasting += part * self.permanent_share
