"""Weight, mean and squared deviations of a set of trades, which merge and part without cancellation.

Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
"""
from libc.math cimport NAN, sqrt

cdef struct moments_t:
    double weight
    double mean
    double squares  # sum of weight * (value - mean) ** 2


cdef inline moments_t no_moments() noexcept nogil:
    cdef moments_t none
    none.weight, none.mean, none.squares = 0.0, 0.0, 0.0
    return none


cdef inline moments_t moments_of(double value, double weight) noexcept nogil:
    cdef moments_t one
    one.weight, one.mean, one.squares = weight, value, 0.0
    return one


cdef inline moments_t merged(moments_t a, moments_t b) noexcept nogil:
    cdef moments_t both
    cdef double apart = b.mean - a.mean
    both.weight = a.weight + b.weight
    if both.weight == 0.0:
        return no_moments()
    if a.weight == 0.0:
        return b
    both.mean = a.mean + apart * (b.weight / both.weight)
    both.squares = a.squares + b.squares + apart * apart * (a.weight * (b.weight / both.weight))
    return both


cdef inline moments_t parted(moments_t both, moments_t b) noexcept nogil:
    """Return what is left of `both` without `b`: the inverse of a merge, to rounding."""
    cdef moments_t a
    cdef double apart
    a.weight = both.weight - b.weight
    if a.weight <= 0.0:
        return no_moments()
    a.mean = both.mean + (both.mean - b.mean) * (b.weight / a.weight)
    apart = b.mean - a.mean
    a.squares = max(0.0, both.squares - b.squares - apart * apart * (a.weight * (b.weight / both.weight)))
    return a


cdef inline double deviation_of(moments_t all) noexcept nogil:
    return sqrt(all.squares / all.weight) if all.weight > 0.0 else NAN
