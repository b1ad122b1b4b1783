# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""The impact and the deviation control of a live execution, for a replay, with an audit of both.

Impact is the cost model's estimate for what was executed and the next child: above its bound the rate is halved,
above one and a half times it nothing is sent until it decays. Deviation is |own average / VWAP since arrival - 1|
once a tenth is filled: above its bound the parent only rests, along the static schedule, and above twice the bound it
pauses and asks. Both let go below three quarters of the bound (docs/definitions.md, execution rules).
Plain-Python twin: tests/native/backtest_twin.py.
"""
from libc.math cimport fmax

from native._types cimport nanos_t

cdef nanos_t ONE = 1_000_000_000
cdef nanos_t NEVER = 0x7fffffffffffffff
cdef double RELEASE = 0.75
cdef double STOP = 1.5
cdef double PAUSE = 2.0


cdef class Controls:
    """Both controls of one parent.

    `max_impact` and `max_deviation` are fractions of the price, above 0 to 1. Nobody sits beside a replay to answer
    a pause: `answer_nanos` later it is taken to be resumed, passive only; None is never. With `is_enforced` False
    they watch and count and do nothing. Raises ValueError for values outside these ranges.
    """

    def __init__(
        self, double max_impact=0.005, double max_deviation=0.002, *, answer_nanos=300 * ONE, is_enforced=True
    ):
        for name, value in (("max_impact", max_impact), ("max_deviation", max_deviation)):
            if not 0.0 < value <= 1.0:
                raise ValueError(f"{name} must lie above 0, to 1, not {value}")
        if answer_nanos is not None and answer_nanos < 0:
            raise ValueError(f"answer_nanos must not be negative: {answer_nanos}")
        self.max_impact = max_impact
        self.max_deviation = max_deviation
        self.answer = NEVER if answer_nanos is None else answer_nanos
        self.is_enforced = is_enforced
        self.rate = FULL
        self.mode = NORMAL
        self.deviation = -1.0

    cdef bint is_normal(self) noexcept nogil:
        return self.rate == FULL and self.mode == NORMAL

    cdef bint is_stopped(self) noexcept nogil:
        return self.rate == NONE or self.mode == PAUSED

    cdef bint take(self, nanos_t now, double impact, double deviation) noexcept nogil:
        cdef int rate = self.rate, mode = self.mode
        self.deviation = deviation
        self.largest_impact = fmax(self.largest_impact, impact)
        self.largest_deviation = fmax(self.largest_deviation, deviation)
        # A breach lasts until the figure is back below where the control lets go.
        if impact > self.max_impact and not self.was_above_impact:
            self.impact_breaches += 1
            self.was_above_impact = True
        elif impact < RELEASE * self.max_impact:
            self.was_above_impact = False
        if deviation > self.max_deviation and not self.was_above_deviation:
            self.deviation_breaches += 1
            self.was_above_deviation = True
        elif deviation < RELEASE * self.max_deviation:
            self.was_above_deviation = False
        if not self.is_enforced:
            return False
        if impact > STOP * self.max_impact:
            rate = NONE
        elif impact > self.max_impact:
            rate = max(rate, HALF)
        elif impact < RELEASE * self.max_impact:
            rate = FULL
        if mode != PAUSED and deviation >= 0.0:
            if deviation > PAUSE * self.max_deviation and not self.is_answered:
                mode = PAUSED
                self.paused_at = now
            elif deviation > self.max_deviation:
                mode = PASSIVE_ONLY
            elif deviation < RELEASE * self.max_deviation:
                mode = NORMAL
                self.is_answered = False
        self.impact_actions += rate > self.rate
        self.deviation_actions += mode > self.mode
        if rate == self.rate and mode == self.mode:
            return False
        self.rate, self.mode = rate, mode
        return True

    cdef bint take_answer(self, nanos_t now) noexcept nogil:
        # A person resumes: passive only, and not asked again before the deviation was back.
        if self.mode != PAUSED or now - self.paused_at < self.answer:
            return False
        self.mode = PASSIVE_ONLY
        self.is_answered = True
        return True

    cdef void audit(self, double impact, bint is_passive) noexcept nogil:
        # Of a fill that is about to be booked: was everything done that the figures asked for?
        cdef bint is_amiss = impact > STOP * self.max_impact
        is_amiss |= impact > self.max_impact and self.rate == FULL
        is_amiss |= self.deviation > self.max_deviation and (self.mode == NORMAL or not is_passive)
        is_amiss |= self.deviation > PAUSE * self.max_deviation and not self.is_answered
        self.fills_without_action += is_amiss
