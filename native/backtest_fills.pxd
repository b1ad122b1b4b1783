from native._types cimport nanos_t


cdef struct fill_t:
    nanos_t time, price, size
    nanos_t mid  # the last print when the child was sent
    nanos_t impact  # the part of the price that the cost model calls impact, side-signed
    bint is_passive


cdef class FillLog:
    cdef fill_t *fills
    cdef Py_ssize_t capacity, count

    # False when there is no room for it any more.
    cdef bint add(self, fill_t fill) noexcept nogil
