from libc.math cimport NAN

# Numbers that describe the day so far, in the order of `features`.
cdef enum:
    SURPRISE = 0
    RECENT = 1
    MOVE = 2
    CONSTANT = 3
    FEATURES = 4
    KNOTS = 4
    RECENT_BINS = 6


cdef class ShareForecast:
    # The curve: share of the day by bin, and the share before each bin (one element more).
    cdef Py_ssize_t bins, at
    cdef double *shares
    cdef double *before
    cdef double coefficients[FEATURES * KNOTS]
    cdef double level, done, previous_price, typical_move, price
    # Volume of the last bins, by bin modulo RECENT_BINS.
    cdef double recent[RECENT_BINS]

    cdef void describe(self, double *features) noexcept nogil
    cdef double surprise_of(self, double volume, double expected) noexcept nogil
    cdef double remaining(self) noexcept nogil
