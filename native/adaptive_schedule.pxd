from native._types cimport nanos_t
from native._wide cimport wide_t
from native.schedule cimport Schedule


cdef class AdaptiveVwapSchedule(Schedule):
    # The session's bins as they were given, and where the schedule's own bins (clipped to start..end) begin in them.
    cdef Py_ssize_t session_bins, first_bin
    cdef nanos_t *session_edges
    cdef double *volumes  # expected volume of each session bin, shares
    cdef double log_sd, tolerance, capacity_rate
    cdef wide_t observed  # eligible volume since the plan in force
    # The curve in force starts here; the knot before it keeps the past readable.
    cdef nanos_t knot_time, knot_share, last_knot_time, last_knot_share
    cdef double liquidity, tightness

    cdef bint revise_at(self, nanos_t now, const double *volumes, double log_sd) noexcept nogil
    cdef void sense_market(self, double spread, double depth, double volume, double volatility) noexcept nogil
    cdef double expected(self, Py_ssize_t i, nanos_t begin) noexcept nogil
    cdef void draw(self, nanos_t now, double seen, double lean) noexcept nogil
