# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""Intraday volume by a Kalman filter on log volume, fitted by expectation maximisation.

Chen, Feng and Palomar (2016), "Forecasting intraday trading volume: a Kalman filter approach": log volume of a bin is
the day's level (it moves between days only), plus a seasonal of the bin, plus an AR(1), plus noise. In the robust
variant an outlier with an l1 penalty is taken out of each observation before it corrects the state; with the steady
variance S of the innovation a penalty of lambda is a bound of lambda S / 2, here stated as `outlier_sd` deviations.
A bin without volume has no logarithm and is a missing observation. Plain-Python twin: tests/native/volume_twins.py.
"""
import numpy as np

from libc.math cimport INFINITY, exp, isfinite, log, pow, sqrt
from libc.stdlib cimport free, malloc

# Before the first bin both parts are known to a factor of e. What is fitted leaves that as it is, so that no step of
# expectation maximisation makes the likelihood fall.
cdef double FIRST_VARIANCE = 1.0
cdef double SMALLEST_VARIANCE = 1e-8
cdef double LARGEST_PERSISTENCE = 0.9999
cdef double PI2 = 6.283185307179586


cdef class VolumeForecast:
    """The filter of one symbol. `begin_day`, then `update` bin by bin; forecasts are of bins not yet taken.

    `seasonal`: mean log volume of each bin. `dynamics`: level persistence and variance, AR persistence and variance,
    noise variance. `traded`: the share of sessions in which the bin trades at all (1 by default), which mean
    forecasts are multiplied with. Raises ValueError for lengths or values that cannot be.
    """

    def __cinit__(self):
        self.seasonal = NULL
        self.traded = NULL

    def __init__(self, seasonal, dynamics, double outlier_sd=INFINITY, traded=None):
        cdef Py_ssize_t i
        shape = np.array(seasonal, np.float64)
        often = np.ones(len(shape)) if traded is None else np.array(traded, np.float64)
        if shape.ndim != 1 or not len(shape) or not np.all(np.isfinite(shape)):
            raise ValueError("seasonal is one finite mean of log volume a bin")
        if often.shape != shape.shape or not np.all((often >= 0) & (often <= 1)):
            raise ValueError("traded is one share from 0 to 1 a bin")
        self.by = dynamics_of(np.array(dynamics, np.float64), outlier_sd)
        self.bins = len(shape)
        self.seasonal = <double *>malloc(self.bins * sizeof(double))
        self.traded = <double *>malloc(self.bins * sizeof(double))
        if self.seasonal == NULL or self.traded == NULL:
            raise MemoryError
        for i in range(self.bins):
            self.seasonal[i] = shape[i]
            self.traded[i] = often[i]
        self.state = first_state()
        self.at = 0
        self.has_begun = False

    def __dealloc__(self):
        free(self.seasonal)
        free(self.traded)

    @property
    def next_bin(self):
        """The first bin of the day that was not yet taken."""
        return self.at

    @property
    def level(self):
        """How far the day's log volume lies above what is usual."""
        return self.state.level

    def begin_day(self):
        """Begin a session. What is left of the one before counts as bins without an observation."""
        if self.has_begun:
            while self.at < self.bins - 1:
                predict(&self.state, &self.by, False)
                self.at += 1
            predict(&self.state, &self.by, True)
        self.has_begun = True
        self.at = 0

    def update(self, Py_ssize_t bin_index, double volume):
        """Take the volume of a bin that is over; bins left out, and a volume of 0, are missing.

        Raises ValueError for a bin already taken or past the last, or a negative or not finite volume, and when no
        day has begun.
        """
        cdef innovation_t found
        if not self.has_begun:
            raise ValueError("no day has begun")
        if bin_index < self.at or bin_index >= self.bins:
            raise ValueError(f"bin {bin_index} is not one of {self.at}..{self.bins - 1}")
        if not 0.0 <= volume <= 1.7e308:
            raise ValueError(f"not a volume: {volume}")
        while self.at < bin_index:
            predict(&self.state, &self.by, False)
            self.at += 1
        if volume > 0.0:
            correct(&self.state, &self.by, log(volume) - self.seasonal[bin_index], &found)
        if bin_index < self.bins - 1:
            predict(&self.state, &self.by, False)
        self.at = bin_index + 1

    def take_day(self, const double[::1] volumes):
        """Begin a session and take its first bins, as many as there are."""
        cdef Py_ssize_t i
        self.begin_day()
        for i in range(volumes.shape[0]):
            self.update(i, volumes[i])

    def next_volume(self, bint is_mean=True):
        """Return the forecast of `next_bin`: its mean, or its median given that it trades; 0 after the last."""
        if self.at >= self.bins:
            return 0.0
        return self.volume_after(0, is_mean)

    def remaining_volumes(self, bint is_mean=True):
        """Return the forecast of every bin from `next_bin` on, float64; means, or medians given that they trade."""
        cdef Py_ssize_t i
        result = np.empty(self.bins - self.at, np.float64)
        for i in range(self.bins - self.at):
            result[i] = self.volume_after(i, is_mean)
        return result

    def next_log_sd(self):
        """Return the standard deviation of the log volume of `next_bin`, given that it trades."""
        return sqrt(self.log_variance(0))

    cdef double volume_after(self, Py_ssize_t steps, bint is_mean) noexcept nogil:
        # The forecast of the bin `steps` after `next_bin`.
        cdef double middle = self.log_mean(steps)
        if not is_mean:
            return exp(middle)
        return self.traded[self.at + steps] * exp(middle + self.log_variance(steps) / 2)

    cdef double log_mean(self, Py_ssize_t steps) noexcept nogil:
        return self.seasonal[self.at + steps] + self.state.level + pow(self.by.ar_persistence, steps) * self.state.ar

    cdef double log_variance(self, Py_ssize_t steps) noexcept nogil:
        cdef double decay = pow(self.by.ar_persistence, steps)
        cdef double square = self.by.ar_persistence * self.by.ar_persistence
        cdef double shocks = steps if square >= 1.0 else (1.0 - pow(square, steps)) / (1.0 - square)
        return (
            self.state.level_var + 2 * decay * self.state.cross + decay * decay * self.state.ar_var
            + shocks * self.by.ar_variance + self.by.noise_variance
        )


def expectation_maximisation(
    const double[::1] log_volumes, Py_ssize_t bins, dynamics, seasonal, double outlier_sd=INFINITY,
    Py_ssize_t iterations=200, double tolerance=1e-6,
):
    """Fit dynamics and seasonal, and return (dynamics, seasonal, log likelihood, iterations used).

    `log_volumes` runs over whole sessions of `bins` bins, oldest first, NaN where nothing traded. It begins at the
    dynamics and seasonal given and ends when the log likelihood changes by less than `tolerance` of itself. With a
    finite `outlier_sd` the outliers found in each pass are taken out of what the next parameters are made of.
    Raises ValueError for a length that is no whole number of sessions, or when nothing was observed.
    """
    cdef Py_ssize_t used = 0, length = log_volumes.shape[0]
    cdef double likelihood = -INFINITY, before
    if bins < 1 or length < bins or length % bins:
        raise ValueError(f"{length} log volumes are no whole number of sessions of {bins} bins")
    shape = np.array(seasonal, np.float64)
    if shape.shape != (bins,) or not np.all(np.isfinite(shape)):
        raise ValueError(f"seasonal needs {bins} finite values")
    if not np.isfinite(np.asarray(log_volumes)).any():
        raise ValueError("nothing was observed")
    cdef double[::1] seasonal_now = shape
    cdef dynamics_t by = dynamics_of(np.array(dynamics, np.float64), outlier_sd)
    # A bin: filtered state, predicted state, outlier (5 + 5 + 1 doubles); a bin of the day: sum and count.
    cdef double[::1] space = np.empty(11 * length + 2 * bins, np.float64)
    while used < iterations:
        before = likelihood
        with nogil:
            likelihood = em_pass(log_volumes, bins, &by, seasonal_now, &space[0])
        used += 1
        if abs(likelihood - before) < tolerance * (1.0 + abs(likelihood)):
            break
    fitted = [by.level_persistence, by.level_variance, by.ar_persistence, by.ar_variance, by.noise_variance]
    return np.array(fitted, np.float64), shape, likelihood, used


cdef double em_pass(
    const double[::1] observed, Py_ssize_t bins, dynamics_t *by, double[::1] seasonal, double *space
) noexcept nogil:
    """Filter, smooth, put the parameters that maximise the expectation in place; return the log likelihood before."""
    cdef Py_ssize_t n = observed.shape[0], i, place, seen = 0, days = n // bins
    cdef state_t *filtered = <state_t *>space
    cdef state_t *predicted = filtered + n
    cdef double *outliers = <double *>(predicted + n)
    cdef double *sums = outliers + n
    cdef double *counts = sums + bins
    cdef state_t state = first_state(), later
    cdef innovation_t found
    cdef double likelihood = 0.0, noise = 0.0, residual
    # Sums of second moments of (now, before): across days for the level, across bins for the AR part.
    cdef double level_now = 0.0, level_both = 0.0, level_before = 0.0
    cdef double ar_now = 0.0, ar_both = 0.0, ar_before = 0.0
    cdef double jl_l, jl_a, ja_l, ja_a, determinant, al, aa, c_l, c_a, dl, da, vl, vc, va
    cdef bint is_new_day
    for i in range(n):
        if i:
            predict(&state, by, i % bins == 0)
        predicted[i] = state
        outliers[i] = 0.0
        if isfinite(observed[i]):
            correct(&state, by, observed[i] - seasonal[i % bins], &found)
            outliers[i] = found.outlier
            residual = found.error - found.outlier
            likelihood -= (log(PI2 * found.variance) + residual * residual / found.variance) / 2
            # The price of an outlier, as Huber's loss counts it: linear beyond the bound.
            likelihood -= by.outlier_sd * abs(found.outlier) / sqrt(found.variance) if found.outlier else 0.0
        filtered[i] = state
    for place in range(bins):
        sums[place] = counts[place] = 0.0
    # Backwards (Rauch, Tung and Striebel); `state` becomes the smoothed one of bin i, `later` that of bin i + 1.
    for i in range(n - 1, -1, -1):
        if i < n - 1:
            later = state
            is_new_day = (i + 1) % bins == 0
            al = by.level_persistence if is_new_day else 1.0
            aa = by.ar_persistence
            state = filtered[i]
            # J = P A' (predicted covariance)^-1
            determinant = predicted[i + 1].level_var * predicted[i + 1].ar_var - predicted[i + 1].cross ** 2
            determinant = max(determinant, 1e-300)
            jl_l = (state.level_var * al * predicted[i + 1].ar_var
                    - state.cross * aa * predicted[i + 1].cross) / determinant
            jl_a = (state.cross * aa * predicted[i + 1].level_var
                    - state.level_var * al * predicted[i + 1].cross) / determinant
            ja_l = (state.cross * al * predicted[i + 1].ar_var
                    - state.ar_var * aa * predicted[i + 1].cross) / determinant
            ja_a = (state.ar_var * aa * predicted[i + 1].level_var
                    - state.cross * al * predicted[i + 1].cross) / determinant
            dl = later.level - predicted[i + 1].level
            da = later.ar - predicted[i + 1].ar
            vl = later.level_var - predicted[i + 1].level_var
            vc = later.cross - predicted[i + 1].cross
            va = later.ar_var - predicted[i + 1].ar_var
            # Covariance of the smoothed states of bins i + 1 and i.
            c_l = later.level_var * jl_l + later.cross * jl_a
            c_a = later.cross * ja_l + later.ar_var * ja_a
            state.level += jl_l * dl + jl_a * da
            state.ar += ja_l * dl + ja_a * da
            state.cross += (jl_l * vl + jl_a * vc) * ja_l + (jl_l * vc + jl_a * va) * ja_a
            state.level_var += jl_l * jl_l * vl + 2 * jl_l * jl_a * vc + jl_a * jl_a * va
            state.ar_var += ja_l * ja_l * vl + 2 * ja_l * ja_a * vc + ja_a * ja_a * va
            ar_now += later.ar_var + later.ar * later.ar
            ar_both += c_a + later.ar * state.ar
            ar_before += state.ar_var + state.ar * state.ar
            if is_new_day:
                level_now += later.level_var + later.level * later.level
                level_both += c_l + later.level * state.level
                level_before += state.level_var + state.level * state.level
        if isfinite(observed[i]):
            place = i % bins
            seen += 1
            sums[place] += observed[i] - outliers[i] - state.level - state.ar
            counts[place] += 1.0
            residual = observed[i] - outliers[i] - seasonal[place] - state.level - state.ar
            noise += residual * residual + state.level_var + 2 * state.cross + state.ar_var
    for place in range(bins):
        if counts[place]:
            # The noise is that around the new seasonal: the mean of squares falls by the square of the shift.
            residual = sums[place] / counts[place] - seasonal[place]
            noise -= counts[place] * residual * residual
            seasonal[place] += residual
    by.noise_variance = max(noise / seen, SMALLEST_VARIANCE)
    if n > 1 and ar_before > 0.0:
        by.ar_persistence = min(max(ar_both / ar_before, 0.0), LARGEST_PERSISTENCE)
        by.ar_variance = max(
            (ar_now - 2 * by.ar_persistence * ar_both + by.ar_persistence ** 2 * ar_before) / (n - 1),
            SMALLEST_VARIANCE,
        )
    if days > 1 and level_before > 0.0:
        by.level_persistence = min(max(level_both / level_before, 0.0), LARGEST_PERSISTENCE)
        by.level_variance = max(
            (level_now - 2 * by.level_persistence * level_both + by.level_persistence ** 2 * level_before)
            / (days - 1),
            SMALLEST_VARIANCE,
        )
    return likelihood


cdef state_t first_state() noexcept nogil:
    cdef state_t state
    state.level = state.ar = state.cross = 0.0
    state.level_var = state.ar_var = FIRST_VARIANCE
    return state


cdef dynamics_t dynamics_of(values, double outlier_sd) except *:
    cdef dynamics_t by
    if values.shape != (5,) or not np.all(np.isfinite(values)):
        raise ValueError("dynamics needs 5 finite values")
    if not (0 <= values[0] <= 1 and 0 <= values[2] < 1 and values[1] >= 0 and values[3] >= 0 and values[4] > 0):
        raise ValueError(f"dynamics out of range: {values.tolist()}")
    if not outlier_sd > 0:
        raise ValueError(f"outlier_sd must be above zero, not {outlier_sd}")
    by.level_persistence, by.level_variance = values[0], values[1]
    by.ar_persistence, by.ar_variance = values[2], values[3]
    by.noise_variance, by.outlier_sd = values[4], outlier_sd
    return by
