from native._types cimport nanos_t

# One whole, in the unit in which shares of a curve are kept.
cdef enum:
    WHOLE_BITS = 62


cdef class Schedule:
    cdef nanos_t quantity, lot, start, end
    # The curve: planned share done by each edge, in units of 2**-62, from 0 to 2**62.
    cdef Py_ssize_t bins
    cdef nanos_t *edges
    cdef nanos_t *shares
    # The plan in force: `done` at `plan_time`, the rest along the curve that is left after it.
    cdef nanos_t done, plan_time, plan_share
    cdef bint frozen

    cdef int set_up(self, quantity_nanos, lot_nanos, edges, shares) except -1
    # What every schedule answers: the quantity to have done by a market time.
    cdef nanos_t target(self, nanos_t now) noexcept nogil
    cdef nanos_t share_at(self, nanos_t now) noexcept nogil
    cdef void plan(self, nanos_t now, nanos_t done) noexcept nogil
    # What only some listen to, and the others ignore: eligible volume, in time order, and a count begun anew.
    cdef void take_volume(self, nanos_t time, nanos_t size) noexcept nogil
    cdef void forget_volume(self) noexcept nogil
