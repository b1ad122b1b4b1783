# cython: language_level=3, cdivision=True, auto_pickle=False, autotestdict=False
"""Implementation shortfall: the trade-off between impact and risk, in closed form.

Almgren and Chriss, "Optimal execution of portfolio transactions" (2000), section 2: with linear impact the quantity
that is left after j of n intervals of length tau is X sinh(kappa (T - t_j)) / sinh(kappa T), where
2 (cosh(kappa tau) - 1) / tau^2 = lambda sigma^2 / (eta - gamma tau / 2). A risk aversion lambda of zero is TWAP.
Plain-Python twin: tests/native/schedule_twins.py.
"""
from fractions import Fraction
from math import asinh, exp, expm1, isfinite, sqrt

from native._types cimport nanos_t
from native.schedule cimport WHOLE_BITS, Schedule

cdef nanos_t WHOLE = <nanos_t>1 << WHOLE_BITS
MOST_STEPS = 480
_LARGEST_RATE = 1e6  # kappa tau, where all but 1e-300 of the quantity goes in the first interval


cdef class ShortfallSchedule(Schedule):
    """The trajectory with the least expected cost plus `risk_aversion` times its variance.

    `risk_aversion` (lambda) is per currency unit, `volatility` (sigma) in currency units a share and square-root
    second, `temporary_impact` (eta) in currency units a share for each share a second, `permanent_impact` (gamma) in
    currency units a share for each share. `steps` intervals, each traded at a constant rate. Raises ValueError for
    values that are negative or not finite, for eta <= gamma tau / 2 with a risk aversion above zero, for steps
    outside 1..480, and for what `TwapSchedule` refuses.
    """

    def __init__(
        self,
        quantity_nanos,
        lot_nanos,
        start_nanos,
        end_nanos,
        risk_aversion,
        volatility,
        temporary_impact,
        permanent_impact=0.0,
        *,
        steps=240,
    ):
        if end_nanos <= start_nanos:
            raise ValueError(f"end_nanos {end_nanos} is not after start_nanos {start_nanos}")
        if not 1 <= steps <= MOST_STEPS:
            raise ValueError(f"steps must lie in 1..{MOST_STEPS}, not {steps}")
        for name, value in (
            ("risk_aversion", risk_aversion),
            ("volatility", volatility),
            ("temporary_impact", temporary_impact),
            ("permanent_impact", permanent_impact),
        ):
            if not (isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and not negative, not {value}")
        span = end_nanos - start_nanos
        steps = min(steps, span)
        rate = _rate(risk_aversion, volatility, temporary_impact, permanent_impact, span * 1e-9 / steps)
        self.kappa_per_second = rate / (span * 1e-9 / steps)
        if rate == 0.0:
            edges, shares = [start_nanos, end_nanos], [0, WHOLE]
        else:
            edges = [start_nanos + span * j // steps for j in range(steps + 1)]
            shares = _shares(rate, steps)
        self.set_up(quantity_nanos, lot_nanos, edges, shares)


def _rate(aversion, volatility, temporary, permanent, interval):
    """Return kappa times the interval (seconds)."""
    risk = aversion * volatility * volatility
    if risk == 0.0:
        return 0.0
    eta = temporary - permanent * interval / 2
    if eta <= 0.0:
        raise ValueError(f"temporary_impact {temporary} is not above half the permanent one of an interval")
    # 2 (cosh(x) - 1) = y^2 is x = 2 asinh(y / 2), which keeps its digits when y is small.
    return min(2 * asinh(sqrt(risk / eta) * interval / 2), _LARGEST_RATE)


def _shares(rate, steps):
    # 1 - sinh(a) / sinh(b) with a = rate (n - j), b = rate n, without overflow:
    # sinh(a) / sinh(b) = e^(a - b) (1 - e^(-2 a)) / (1 - e^(-2 b)).
    shares = [0]
    for j in range(1, steps):
        left = exp(-rate * j) * expm1(-2 * rate * (steps - j)) / expm1(-2 * rate * steps)
        shares.append(max(shares[-1], int(WHOLE * (1 - Fraction(min(left, 1.0))))))
    return [*shares, WHOLE]
