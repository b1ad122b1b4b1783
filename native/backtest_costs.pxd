from native._types cimport nanos_t


cdef class CostModel:
    cdef double half_spread, volatility, daily_volume
    cdef double temporary, temporary_power, permanent, permanent_share, decay_nanos, root
    cdef double lasting, fading  # of one execution, as fractions of the price
    cdef nanos_t fading_time

    cdef void begin(self) noexcept nogil
    cdef double displacement(self, nanos_t now) noexcept nogil
    cdef double rate_impact(self, double participation) noexcept nogil
    cdef void push(self, nanos_t now, double shares) noexcept nogil
