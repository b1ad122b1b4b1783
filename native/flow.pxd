"""The simulated order flow of one instrument. See flow.pyx."""

from libc.stdint cimport int8_t, int32_t, int64_t

from native._random cimport random_t
from native.book cimport Book

cdef enum:
    PROGRAMMES = 6


cdef class Flow:
    # ------------------------------------------------------------------ what was given
    cdef readonly Book book
    cdef double daily_lots
    cdef double daily_volatility
    cdef double order_lots
    cdef double orders_a_day
    # ------------------------------------------------------------------ the session
    cdef int64_t open_time
    cdef int64_t close_time
    cdef int64_t next_step
    cdef int64_t next_arrival
    cdef int64_t last_quote
    # ------------------------------------------------------------------ the price that the flow believes in, in ticks
    cdef double value
    cdef double pressure
    cdef int64_t absorbed
    cdef double fair
    # ------------------------------------------------------------------ how busy it is
    cdef double heat[3]
    cdef double busy
    cdef double day_factor
    cdef double half_spread
    # ------------------------------------------------------------------ order programmes: sign and orders left
    cdef int8_t programme_sign[PROGRAMMES]
    cdef int32_t programme_left[PROGRAMMES]
    # ------------------------------------------------------------------ chance: a stream for the value, one for orders
    cdef random_t news
    cdef random_t chance
    # ------------------------------------------------------------------ inner parts
    cdef int step(self) except -1 nogil
    cdef int refresh_fair(self) except -1 nogil
    cdef int draw_arrival(self) noexcept nogil
    cdef int arrive(self) except -1 nogil
    cdef int take(self) except -1 nogil
    cdef int place(self, int side) except -1 nogil
    cdef int thin_out(self) except -1 nogil
    cdef int correct_stale(self) except -1 nogil
    cdef int64_t draw_lots(self) noexcept nogil
    cdef int run_until(self, int64_t until) except -1 nogil
