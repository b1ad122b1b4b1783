from native.schedule cimport Schedule


cdef class ShortfallSchedule(Schedule):
    cdef readonly double kappa_per_second
