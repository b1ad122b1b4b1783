# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""The component multiplicative error model of intraday volume (CMEM), as a filter.

Brownlees, Cipollini and Gallo (2011), "Intra-daily volume modeling and prediction for algorithmic trading": the volume
of a bin is daily * seasonal * intraday * error, the error positive with mean 1. Both components are autoregressions
with their own last surprise. Plain-Python twin: tests/native/volume_twins.py.
"""
from libc.math cimport INFINITY, log

# Below this a component is no mean of anything.
cdef double SMALLEST = 1e-12


def cmem_filter(
    const double[::1] volumes, Py_ssize_t bins, const double[::1] parameters, const double[::1] seasonal,
    double[::1] daily, double[::1] intraday,
):
    """Run the filter over whole sessions and return sum(log m + x / m), m the mean forecast before each bin.

    That is minus the log likelihood of exponential errors, whose minimum is consistent for any positive error with
    mean 1, zeros included. `parameters`: constant, persistence and surprise of the daily component, persistence and
    surprise of the intraday one (whose constant keeps its mean at 1). `daily` (sessions + 1) and `intraday`
    (bins + 1 in all) are filled; their last elements are forecasts of what comes next. A component begins at the
    mean of the first session, and at 1. Raises ValueError for lengths that do not fit.
    """
    cdef Py_ssize_t n = volumes.shape[0]
    if bins < 1 or n < bins or n % bins or seasonal.shape[0] != bins or parameters.shape[0] != 5:
        raise ValueError(f"{n} volumes, {seasonal.shape[0]} seasonals, {parameters.shape[0]} parameters do not fit")
    if daily.shape[0] != n // bins + 1 or intraday.shape[0] != n + 1:
        raise ValueError("daily needs an element a session and one more, intraday one a bin and one more")
    cdef double total
    with nogil:
        total = filtered(volumes, bins, parameters, seasonal, daily, intraday)
    return total


cdef double filtered(
    const double[::1] volumes, Py_ssize_t bins, const double[::1] parameters, const double[::1] seasonal,
    double[::1] daily, double[::1] intraday,
) noexcept nogil:
    cdef Py_ssize_t i, place, day, days = volumes.shape[0] // bins
    cdef double total = 0.0, surprise, mean, level = 0.0, around = 1.0
    cdef double constant = 1.0 - parameters[3] - parameters[4]
    for i in range(bins):
        level += volumes[i] / bins
    level = max(level, SMALLEST)
    for day in range(days):
        daily[day] = level
        surprise = 0.0
        for place in range(bins):
            i = day * bins + place
            intraday[i] = around
            mean = max(level * seasonal[place] * around, SMALLEST)
            total += log(mean) + volumes[i] / mean
            surprise += volumes[i] / mean / bins
            around = max(
                constant + parameters[3] * around + parameters[4] * around * (volumes[i] / mean), SMALLEST
            )
        # The day's surprise is measured against the intraday forecasts too, as the paper has it.
        level = max(parameters[0] + parameters[1] * level + parameters[2] * level * surprise, SMALLEST)
    daily[days] = level
    intraday[days * bins] = around
    return total if total == total else INFINITY
