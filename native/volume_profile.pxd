from native._types cimport nanos_t
from native._wide cimport wide_t


cdef class PriceProfile:
    cdef nanos_t tick
    # Level `lowest + i` (price floor-divided by the tick) holds levels[i].
    cdef nanos_t lowest
    cdef Py_ssize_t length
    cdef wide_t *levels

    cdef Py_ssize_t busiest(self) noexcept nogil
    cdef int cover(self, nanos_t low, nanos_t high) except -1


cdef class TimeProfile:
    cdef Py_ssize_t bins
    cdef nanos_t *edges
    cdef wide_t *volumes
    cdef wide_t outside

    cdef void book(self, nanos_t time, nanos_t size) noexcept nogil
    cdef Py_ssize_t bin_at(self, nanos_t time) noexcept nogil
