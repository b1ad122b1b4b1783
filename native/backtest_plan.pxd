from native._types cimport nanos_t
from native.adaptive_schedule cimport AdaptiveVwapSchedule
from native.schedule cimport Schedule


cdef class Plan:
    cdef Schedule schedule
    cdef AdaptiveVwapSchedule adaptive  # the same, where it is one
    cdef bint listens
    # What it can give way to; whether a plan of our own is in force, along which curve, and where it began.
    cdef Schedule fallback
    cdef bint is_own, follows_fallback
    cdef nanos_t share, done
    # Forecasts by the time from which they are known.
    cdef nanos_t *times
    cdef double *volumes
    cdef double *deviations
    cdef Py_ssize_t revisions, bins, next_revision

    cdef void revise(self, nanos_t now) noexcept nogil
    cdef nanos_t share_at(self, nanos_t now) noexcept nogil
    cdef nanos_t target(self, nanos_t now) noexcept nogil
    cdef void begin_anew(self, nanos_t now, nanos_t done, bint gives_way) noexcept nogil
