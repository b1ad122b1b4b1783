from native._types cimport nanos_t
from native._wide cimport wide_t

cdef enum:
    SLOTS = 64


cdef struct bucket_t:
    wide_t top  # the highest level at which a window can begin in it
    wide_t volume  # all before it


cdef class TrailingCap:
    cdef bucket_t[SLOTS] buckets  # by number modulo SLOTS
    cdef wide_t level  # cap * all - own, in units of 1e-18
    cdef wide_t volume
    cdef nanos_t window, length, cap, pace, time, newest

    cdef void add(self, nanos_t time, nanos_t size, wide_t change) noexcept nogil
    cdef void add_print(self, nanos_t time, nanos_t size) noexcept nogil
    cdef void add_fill(self, nanos_t time, nanos_t size) noexcept nogil
    cdef void settle(self, nanos_t now) noexcept nogil
    cdef nanos_t allowed(self, nanos_t now) noexcept nogil
