from native._types cimport nanos_t
from native._wide cimport wide_t
from native.schedule cimport Schedule


cdef class PovSchedule(Schedule):
    cdef nanos_t own_share, market_share  # own : market volume, in billionths
    cdef nanos_t slice
    cdef wide_t total, plan_total
    cdef nanos_t last_time
    # Volume before the start of each slice, as far as slices have begun.
    cdef wide_t *before
    cdef Py_ssize_t slices, begun

    cdef wide_t volume_by(self, nanos_t now) noexcept nogil
