from libc.stdint cimport int64_t, uint64_t

from native._types cimport nanos_t


cdef class IcebergSlices:
    cdef nanos_t shown, lot
    cdef double variation
    cdef uint64_t seed

    cdef nanos_t size(self, int64_t number, nanos_t left) noexcept nogil
