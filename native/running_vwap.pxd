from native._moments cimport moments_t
from native._types cimport nanos_t
from native._wide cimport wide_t


cdef struct trade_t:
    nanos_t price
    nanos_t size
    nanos_t time


cdef class RunningVwap:
    cdef wide_t notional, quantity
    cdef moments_t moments
    cdef nanos_t *starts
    cdef Py_ssize_t sessions, session, trades
    cdef nanos_t latest
    cdef int overflow

    cdef void clear(self) noexcept nogil
    cdef void take(self, const nanos_t *prices, const nanos_t *sizes, Py_ssize_t n) noexcept nogil


cdef class RollingVwap:
    cdef trade_t *trades
    cdef Py_ssize_t first, held, room, window_count
    cdef nanos_t window_nanos, latest
    cdef wide_t notional, quantity

    cdef int reserve(self, Py_ssize_t n) except -1
    cdef void push(self, nanos_t price, nanos_t size, nanos_t time) noexcept nogil
    cdef void drop(self, nanos_t now) noexcept nogil
