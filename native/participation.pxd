from native._types cimport nanos_t
from native._wide cimport wide_t


cdef struct event_t:
    wide_t total  # of every event up to and with this one
    nanos_t time


cdef class EventLog:
    cdef event_t *events
    cdef Py_ssize_t first, count, capacity
    cdef wide_t dropped  # the total of the last event that was dropped

    cdef int reserve(self, Py_ssize_t room) except -1
    cdef void append(self, nanos_t time, nanos_t size) noexcept nogil
    cdef int insert(self, nanos_t time, nanos_t size) except -1
    cdef int adjust(self, nanos_t time, nanos_t size, nanos_t change) except -1
    cdef void drop(self, nanos_t time) noexcept nogil
    cdef nanos_t newest(self) noexcept nogil
    cdef Py_ssize_t position(self, nanos_t time) noexcept nogil
    cdef wide_t total_before(self, nanos_t time) noexcept nogil


cdef class ParticipationTracker:
    cdef EventLog tape, own
    cdef nanos_t window, length, pace
    cdef bint own_on_tape

    cdef void drop_old(self) noexcept nogil
    cdef wide_t volume_after(self, nanos_t start, nanos_t now) noexcept nogil
    cdef nanos_t allowed(self, nanos_t now, nanos_t cap) noexcept nogil
    cdef wide_t room_from(
        self, nanos_t begin, nanos_t now, nanos_t oldest, wide_t own, wide_t step, nanos_t cap
    ) noexcept nogil
