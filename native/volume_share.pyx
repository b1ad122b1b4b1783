# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""How much of the day's volume is done, and what is left: a forecast that learns bin by bin.

Before bin b, A was traded, the curve says that share C was to be done and Q = 1 - C is left, and the day ahead was
expected to bring D. The rest of the day is forecast as R = D * Q * exp(x . beta(C)), and the share done as A / (A + R).
x describes the day so far (`features`), beta runs straight between KNOTS values over C, so that a half day needs no
coefficients of its own. The coefficients are fitted in servers/forecast (a quasi-binomial regression of the share done;
Papke and Wooldridge 1996). Volumes are doubles in any unit. Plain-Python twin: tests/native/volume_twins.py.
"""
import numpy as np

from libc.math cimport exp, fabs, isfinite, log, log1p
from libc.stdlib cimport free, malloc

# Added to both sides of a ratio of volumes, as a share of the day: an empty bin in a thin name is no surprise.
cdef double DAMPING = 0.1
# A surprise beyond e**4 says no more than one of e**4.
cdef double LARGEST_LOG = 4.0

FEATURE_NAMES = ("surprise", "recent", "move", "constant")
KNOT_COUNT = KNOTS
cdef tuple PRIOR = (
    0.3, 0.5, 0.6, 0.7,  # surprise
    0.0, 0.0, 0.2, 0.4,  # recent
    0.2, 0.15, 0.1, 0.0,  # move
    0.0, 0.0, 0.0, 0.0,  # constant
)


def prior_coefficients():
    """Return the coefficients that hold before anything is fitted, rounded from fits on other days.

    Of a surprise in volume three tenths last at the open and seven at the close; after a large price move more
    volume comes than the curve says. float64, KNOT_COUNT values (open to close) for each of FEATURE_NAMES.
    """
    return np.array(PRIOR, np.float64)


cdef class ShareForecast:
    """The forecast of one symbol's day.

    `curve` is the expected share of each bin (scaled to sum to 1), `day_volume` what the day is expected to bring;
    `previous_price` and `typical_move` (mean absolute log return of a day) let large moves count, and are left out
    where they are not known (NaN). Raises ValueError for a curve with a negative or not finite weight or none above
    zero, a `day_volume` not above zero, or coefficients of another length.
    """

    def __cinit__(self):
        self.shares = NULL
        self.before = NULL

    def __init__(
        self, curve, double day_volume, coefficients=None, double previous_price=NAN, double typical_move=NAN
    ):
        cdef Py_ssize_t i
        cdef double total = 0.0
        weights = np.array(curve, np.float64)
        if not day_volume > 0.0 or not isfinite(day_volume):
            raise ValueError(f"day_volume must be above zero, not {day_volume}")
        if weights.ndim != 1 or not np.all(np.isfinite(weights)) or np.any(weights < 0) or not weights.sum() > 0:
            raise ValueError("a curve is one weight a bin: none negative, one above zero")
        values = prior_coefficients() if coefficients is None else np.array(coefficients, np.float64)
        if values.shape != (FEATURES * KNOTS,) or not np.all(np.isfinite(values)):
            raise ValueError(f"coefficients needs {FEATURES * KNOTS} finite values")
        cdef const double[::1] given = weights, fitted = values
        for i in range(FEATURES * KNOTS):
            self.coefficients[i] = fitted[i]
        self.bins = given.shape[0]
        self.shares = <double *>malloc(self.bins * sizeof(double))
        self.before = <double *>malloc((self.bins + 1) * sizeof(double))
        if self.shares == NULL or self.before == NULL:
            raise MemoryError
        for i in range(self.bins):
            total += given[i]
        self.before[0] = 0.0
        for i in range(self.bins):
            self.shares[i] = given[i] / total
            self.before[i + 1] = self.before[i] + self.shares[i]
        for i in range(RECENT_BINS):
            self.recent[i] = 0.0
        self.at = 0
        self.level = day_volume
        self.done = 0.0
        self.previous_price = previous_price
        self.typical_move = typical_move
        self.price = NAN

    def __dealloc__(self):
        free(self.shares)
        free(self.before)

    @property
    def bins(self):
        """The number of bins."""
        return self.bins

    @property
    def next_bin(self):
        """The first bin that was not yet taken; `bins` at the end."""
        return self.at

    @property
    def volume_done(self):
        """The volume of all bins taken."""
        return self.done

    def update(self, Py_ssize_t bin_index, double volume, double price=NAN):
        """Take a bin that is over: its volume, and its mean price where one is known. Bins left out had no volume.

        Raises ValueError for a bin already taken or past the last, or a negative or not finite volume.
        """
        if bin_index < self.at or bin_index >= self.bins:
            raise ValueError(f"bin {bin_index} is not one of {self.at}..{self.bins - 1}")
        if not 0.0 <= volume <= 1.7e308:
            raise ValueError(f"not a volume: {volume}")
        while self.at < bin_index:
            self.recent[self.at % RECENT_BINS] = 0.0
            self.at += 1
        self.recent[bin_index % RECENT_BINS] = volume
        self.at = bin_index + 1
        self.done += volume
        if price > 0.0:
            self.price = price

    def features(self):
        """Return what describes the day before `next_bin`, float64, in the order of FEATURE_NAMES.

        surprise: log of volume done over volume expected by now. recent: the same over the last 6 bins, less
        surprise. move: log(1 + |log price / previous close| / typical move), 0 where unknown. constant: 1. Ratios
        are damped by 10 % of a day's volume.
        """
        result = np.empty(FEATURES, np.float64)
        cdef double[::1] features = result
        self.describe(&features[0])
        return result

    def knot_weights(self):
        """Return the weight of each knot before `next_bin` (KNOT_COUNT of them; they sum to 1)."""
        cdef double place = min(max(self.before[self.at], 0.0), 1.0) * (KNOTS - 1)
        cdef Py_ssize_t low = min(<Py_ssize_t>place, KNOTS - 2)
        weights = np.zeros(KNOTS, np.float64)
        weights[low] = 1.0 - (place - low)
        weights[low + 1] = place - low
        return weights

    def prior_odds(self):
        """Return log(A / (D * Q)): the log odds of the share done before any coefficient; NaN where they have none."""
        cdef double left = 1.0 - self.before[self.at]
        if self.done <= 0.0 or left <= 1e-12:
            return NAN
        return log(self.done / (self.level * left))

    def remaining_volume(self):
        """Return the expected volume of all bins from `next_bin` on."""
        return self.remaining()

    def remaining_volumes(self):
        """Return the expected volume of each bin from `next_bin` on, float64."""
        cdef Py_ssize_t i
        cdef double rest = self.remaining(), left = 1.0 - self.before[self.at]
        result = np.zeros(self.bins - self.at, np.float64)
        cdef double[::1] volumes = result
        if left > 1e-12:
            for i in range(self.at, self.bins):
                volumes[i - self.at] = rest * self.shares[i] / left
        return result

    def day_volume(self):
        """Return the expected volume of the whole day, given what is known."""
        return self.done + self.remaining()

    def share_done(self):
        """Return the expected share of the day's volume that is done: E[V before next_bin / V of the day]."""
        if self.at >= self.bins:
            return 1.0
        return self.done / (self.done + self.remaining())

    def share_after_next_bin(self):
        """Return the expected share of the day's volume done when `next_bin` is over; 1 for the last bin.

        Known before the bin's first trade: where an order that follows the volume should stand after the bin.
        """
        cdef double rest, left
        if self.at >= self.bins - 1:
            return 1.0
        left = 1.0 - self.before[self.at]
        if left <= 1e-12:
            return 1.0
        rest = self.remaining()
        return min((self.done + rest * self.shares[self.at] / left) / (self.done + rest), 1.0)

    cdef double surprise_of(self, double volume, double expected) noexcept nogil:
        cdef double ratio = log((volume / self.level + DAMPING) / (expected + DAMPING))
        return min(max(ratio, -LARGEST_LOG), LARGEST_LOG)

    cdef void describe(self, double *features) noexcept nogil:
        cdef Py_ssize_t i, first = self.at - RECENT_BINS if self.at > RECENT_BINS else 0
        cdef double last = 0.0
        for i in range(first, self.at):
            last += self.recent[i % RECENT_BINS]
        features[SURPRISE] = self.surprise_of(self.done, self.before[self.at])
        features[RECENT] = self.surprise_of(last, self.before[self.at] - self.before[first]) - features[SURPRISE]
        features[MOVE] = 0.0
        if self.price > 0.0 and self.previous_price > 0.0 and self.typical_move > 0.0:
            features[MOVE] = log1p(fabs(log(self.price / self.previous_price)) / self.typical_move)
        features[CONSTANT] = 1.0

    cdef double remaining(self) noexcept nogil:
        cdef double features[FEATURES]
        cdef double place, part, exponent = 0.0, left = 1.0 - self.before[self.at]
        cdef Py_ssize_t low, i
        if self.at >= self.bins or left <= 1e-12:
            return 0.0
        self.describe(features)
        place = min(max(self.before[self.at], 0.0), 1.0) * (KNOTS - 1)
        low = min(<Py_ssize_t>place, KNOTS - 2)
        part = place - low
        for i in range(FEATURES):
            exponent += features[i] * (
                (1.0 - part) * self.coefficients[i * KNOTS + low] + part * self.coefficients[i * KNOTS + low + 1]
            )
        return self.level * left * exp(min(max(exponent, -LARGEST_LOG), LARGEST_LOG))
