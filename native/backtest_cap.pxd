from native._types cimport nanos_t
from native._wide cimport wide_t


cdef struct moment_t:
    wide_t level  # cap * all - own of everything up to and with this moment, in units of 1e-18
    nanos_t time


cdef class TrailingCap:
    cdef moment_t *moments
    # Positions of the moments that can still be the highest of a window, their levels falling.
    cdef Py_ssize_t *tops
    cdef Py_ssize_t count, capacity, entered, first_top, end_top
    cdef wide_t level
    cdef nanos_t window, shortest, cap

    cdef int reserve(self, Py_ssize_t room) except -1
    cdef void add(self, nanos_t time, wide_t change) noexcept nogil
    cdef void add_print(self, nanos_t time, nanos_t size) noexcept nogil
    cdef void add_fill(self, nanos_t time, nanos_t size) noexcept nogil
    cdef void advance(self, nanos_t now) noexcept nogil
    cdef nanos_t allowed(self, nanos_t now) noexcept nogil
