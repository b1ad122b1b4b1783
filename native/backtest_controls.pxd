from native._types cimport nanos_t

# How fast the impact control lets a parent trade, and what the deviation control asks for.
cdef enum:
    FULL = 0
    HALF = 1
    NONE = 2
    NORMAL = 0
    PASSIVE_ONLY = 1
    PAUSED = 2


cdef class Controls:
    cdef readonly double max_impact, max_deviation
    cdef nanos_t answer, paused_at
    cdef bint is_enforced, is_answered, was_above_impact, was_above_deviation
    cdef int rate, mode
    cdef double deviation  # at the last `take`, below zero before it means anything
    cdef readonly Py_ssize_t impact_breaches, impact_actions, deviation_breaches, deviation_actions
    cdef readonly Py_ssize_t fills_without_action
    cdef readonly double largest_impact, largest_deviation
    cdef readonly nanos_t controlled_nanos

    cdef bint is_normal(self) noexcept nogil
    cdef bint is_stopped(self) noexcept nogil
    # Takes both figures; says whether either control changed its mind.
    cdef bint take(self, nanos_t now, double impact, double deviation) noexcept nogil
    cdef bint take_answer(self, nanos_t now) noexcept nogil
    cdef void audit(self, double impact, bint is_passive) noexcept nogil
