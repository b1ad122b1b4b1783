from native._types cimport nanos_t
from native._wide cimport wide_t
from native.backtest_cap cimport TrailingCap
from native.backtest_controls cimport Controls
from native.backtest_costs cimport CostModel
from native.backtest_fills cimport FillLog
from native.backtest_plan cimport Plan
from native.schedule cimport Schedule


cdef enum:
    MOST = 64  # steps that a parent looks back


cdef class Parent:
    cdef Schedule schedule
    cdef TrailingCap cap
    cdef CostModel costs
    cdef readonly Controls controls
    cdef Plan plan
    cdef double sign
    cdef int side
    cdef bint listens, keeps_fills, is_out_of_memory
    cdef nanos_t lot, start, end, step, latency, limit, queue, print_share
    # When to look up from the prints: the next decision, and the next arrival at the market.
    cdef nanos_t next_decision, next_arrival, next_moment, bound
    # What is on its way, as quantities to have done.
    cdef nanos_t coming_market, coming_total, coming_limit, coming_mid
    # What the last decisions aimed at, newest first: what rested for so many steps goes at market.
    cdef Py_ssize_t passive_steps
    cdef nanos_t[MOST] aims
    # What works in the market.
    cdef nanos_t market_leaves, market_mid, passive_leaves, passive_limit, passive_mid, passive_queue
    cdef readonly nanos_t done_nanos, arrival_price_nanos, last_price_nanos
    cdef readonly nanos_t first_print_nanos
    cdef readonly Py_ssize_t child_count, fill_count, event_count
    cdef FillLog fills
    cdef wide_t own_notional, market_notional, market_volume, spread_e18, impact_e18, passive_quantity
    # Volume and own quantity at the last decisions, newest first: the rate that the temporary impact answers.
    cdef Py_ssize_t rate_steps
    cdef double volume, volume_floor
    cdef double[MOST] volumes
    cdef double[MOST] dones

    cdef void take(
        self,
        const nanos_t *times,
        const nanos_t *prices,
        const nanos_t *sizes,
        const nanos_t *takeable,
        Py_ssize_t count,
    ) noexcept nogil
    cdef void move_to(self, nanos_t now) noexcept nogil
    cdef void decide(self, nanos_t now) noexcept nogil
    cdef void arrive(self, nanos_t now) noexcept nogil
    cdef void fill_from(self, nanos_t time, nanos_t price, nanos_t size) noexcept nogil
    cdef nanos_t reach_limit(self, nanos_t price, nanos_t size) noexcept nogil
    cdef nanos_t whole_lots(self, nanos_t available, nanos_t leaves) noexcept nogil
    cdef void book(
        self,
        nanos_t time,
        nanos_t print_price,
        nanos_t price,
        nanos_t size,
        nanos_t mid,
        double impact,
        bint is_passive,
    ) noexcept nogil
    cdef bint control(self, nanos_t now, double impact) noexcept nogil
    cdef nanos_t half(self, nanos_t leaves) noexcept nogil
    cdef double temporary_impact(self, nanos_t part) noexcept nogil
