from libc.math cimport sqrt

# The state space of one symbol: log volume = level of the day + seasonal of the bin + AR(1) + noise.
cdef struct dynamics_t:
    double level_persistence
    double level_variance
    double ar_persistence
    double ar_variance
    double noise_variance
    double outlier_sd

# Mean and covariance of (level, AR part).
cdef struct state_t:
    double level
    double ar
    double level_var
    double cross
    double ar_var

cdef struct innovation_t:
    double error
    double variance
    double outlier


cdef inline void predict(state_t *state, const dynamics_t *by, bint is_new_day) noexcept nogil:
    """Go one bin on; the level moves between days only."""
    state.ar *= by.ar_persistence
    state.cross *= by.ar_persistence
    state.ar_var = by.ar_persistence * by.ar_persistence * state.ar_var + by.ar_variance
    if is_new_day:
        state.level *= by.level_persistence
        state.cross *= by.level_persistence
        state.level_var = by.level_persistence * by.level_persistence * state.level_var + by.level_variance


cdef inline void correct(
    state_t *state, const dynamics_t *by, double observed, innovation_t *found
) noexcept nogil:
    """Take an observation less its seasonal; what of its error lies beyond outlier_sd deviations is an outlier."""
    cdef double with_level = state.level_var + state.cross, with_ar = state.cross + state.ar_var
    cdef double bound, gain_level, gain_ar
    found.error = observed - state.level - state.ar
    found.variance = with_level + with_ar + by.noise_variance
    bound = by.outlier_sd * sqrt(found.variance)
    found.outlier = 0.0
    if found.error > bound:
        found.outlier = found.error - bound
    elif found.error < -bound:
        found.outlier = found.error + bound
    gain_level = with_level / found.variance
    gain_ar = with_ar / found.variance
    state.level += gain_level * (found.error - found.outlier)
    state.ar += gain_ar * (found.error - found.outlier)
    state.level_var -= gain_level * with_level
    state.cross -= gain_level * with_ar
    state.ar_var -= gain_ar * with_ar


cdef class VolumeForecast:
    cdef Py_ssize_t bins, at
    cdef double *seasonal
    cdef double *traded
    cdef dynamics_t by
    # Predicted to bin `at`, once the first day has begun.
    cdef state_t state
    cdef bint has_begun

    cdef double volume_after(self, Py_ssize_t steps, bint is_mean) noexcept nogil
    cdef double log_mean(self, Py_ssize_t steps) noexcept nogil
    cdef double log_variance(self, Py_ssize_t steps) noexcept nogil
