# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""What a parent of a backtest follows: its schedule, the forecasts that revise it, and plans made on the way.

A schedule that listens to volume serves one parent and plans for itself; the others are shared, so a plan of what is
left is kept here, along what is left of their curve.
"""
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

import numpy as np

from native._types cimport nanos_t
from native._wide cimport scale_nearest
from native.adaptive_schedule cimport AdaptiveVwapSchedule
from native.pov_schedule cimport PovSchedule
from native.schedule cimport WHOLE_BITS, Schedule

cdef nanos_t WHOLE = <nanos_t>1 << WHOLE_BITS


cdef class Plan:
    """A schedule with its revisions: (times, volumes, log_sd) for an adaptive one, else None.

    `fallback` is a fixed curve that an adaptive schedule can give way to. Raises ValueError for revisions of another
    shape or order, or of a schedule that takes none.
    """

    def __cinit__(self):
        self.times = NULL
        self.volumes = NULL
        self.deviations = NULL

    def __dealloc__(self):
        free(self.times)
        free(self.volumes)
        free(self.deviations)

    def __init__(self, Schedule schedule not None, revisions=None, Schedule fallback=None):
        self.schedule = schedule
        self.fallback = fallback
        self.listens = isinstance(schedule, (AdaptiveVwapSchedule, PovSchedule))
        if revisions is not None:
            self._take_revisions(*revisions)

    def _take_revisions(self, times, volumes, deviations):
        cdef const nanos_t[::1] moments
        cdef const double[:, ::1] forecasts
        cdef const double[::1] spreads
        if not isinstance(self.schedule, AdaptiveVwapSchedule):
            raise ValueError("revisions are for an adaptive schedule")
        self.adaptive = self.schedule
        times = np.ascontiguousarray(times, np.int64)
        volumes = np.ascontiguousarray(volumes, np.float64)
        deviations = np.ascontiguousarray(deviations, np.float64)
        bins = self.adaptive.session_bins
        if volumes.shape != (len(times), bins) or deviations.shape != (len(times),):
            raise ValueError(f"revisions: {len(times)} times need volumes {(len(times), bins)}, not {volumes.shape}")
        if len(times) and (np.diff(times) <= 0).any():
            raise ValueError("revisions: the times do not rise")
        self.times = <nanos_t *>malloc(max(1, times.size) * sizeof(nanos_t))
        self.volumes = <double *>malloc(max(1, volumes.size) * sizeof(double))
        self.deviations = <double *>malloc(max(1, times.size) * sizeof(double))
        if self.times == NULL or self.volumes == NULL or self.deviations == NULL:
            raise MemoryError
        if len(times):
            moments, forecasts, spreads = times, volumes, deviations
            memcpy(self.times, &moments[0], times.nbytes)
            memcpy(self.volumes, &forecasts[0, 0], volumes.nbytes)
            memcpy(self.deviations, &spreads[0], deviations.nbytes)
        self.revisions = len(times)
        self.bins = bins

    cdef void revise(self, nanos_t now) noexcept nogil:
        # Take the forecasts that are known by now.
        while self.next_revision < self.revisions and self.times[self.next_revision] <= now:
            self.adaptive.revise_at(
                now, self.volumes + self.next_revision * self.bins, self.deviations[self.next_revision]
            )
            self.next_revision += 1

    cdef nanos_t share_at(self, nanos_t now) noexcept nogil:
        return self.fallback.share_at(now) if self.follows_fallback else self.schedule.share_at(now)

    cdef nanos_t target(self, nanos_t now) noexcept nogil:
        cdef nanos_t share
        if not self.is_own:
            return self.schedule.target(now)
        if self.share >= WHOLE:
            return self.done
        share = self.share_at(now)
        if share >= WHOLE:
            return self.schedule.quantity
        share = scale_nearest(
            (self.schedule.quantity - self.done) // self.schedule.lot, share - self.share, WHOLE - self.share
        )
        return self.done + share * self.schedule.lot

    cdef void begin_anew(self, nanos_t now, nanos_t done, bint gives_way) noexcept nogil:
        # What is left goes along what is left: nothing that was missed is sent in a burst.
        self.follows_fallback = gives_way and self.fallback is not None
        self.is_own = self.follows_fallback or not self.listens
        if not self.is_own:
            self.schedule.plan(now, done)
            return
        self.share = self.share_at(now)
        self.done = done
