"""The limit order book and its matching, for one instrument. See book.pyx."""

from libc.stdint cimport int32_t, int64_t

from native.queues cimport *


cdef class Book(Queues):
    cdef int64_t enter(self, int side, int kind, int force, int64_t price, int64_t lots, int64_t display,
                       bint post_only, int32_t owner, int prevention, int64_t reference) except? -1 nogil
    cdef int64_t amend(self, int32_t index, int64_t price, int64_t lots) except? -1 nogil
    cdef uncross_t equilibrium(self, int64_t reference_price) noexcept nogil
    cdef int64_t uncross_at(self, int64_t price, int64_t lots) except? -1 nogil
    cdef int open_closing_call(self) except -1 nogil
    cdef int64_t match(self, int side, int64_t limit_key, int64_t lots, int32_t owner, int prevention,
                       int64_t reference) except? -1 nogil
    cdef int64_t reachable(self, int side, int64_t limit_key, int64_t wanted, int32_t owner,
                           int prevention) noexcept nogil
    cdef int crosses_own(self, int side, int64_t key, int32_t owner, int prevention) except? -1 nogil
    cdef int settle(self, int side, int64_t key, int64_t lots, int32_t index, int kind, int force) except -1 nogil
