"""Seeded random numbers for kernels: xoshiro256** (Blackman and Vigna, 2018), seeded by splitmix64."""

from libc.math cimport cos, log, sqrt
from libc.stdint cimport int64_t, uint64_t


cdef struct random_t:
    uint64_t s0
    uint64_t s1
    uint64_t s2
    uint64_t s3


cdef inline uint64_t splitmix(uint64_t *state) noexcept nogil:
    cdef uint64_t mixed
    state[0] += <uint64_t> 0x9E3779B97F4A7C15
    mixed = state[0]
    mixed = (mixed ^ (mixed >> 30)) * <uint64_t> 0xBF58476D1CE4E5B9
    mixed = (mixed ^ (mixed >> 27)) * <uint64_t> 0x94D049BB133111EB
    return mixed ^ (mixed >> 31)


cdef inline void seed_random(random_t *random, uint64_t seed) noexcept nogil:
    random.s0 = splitmix(&seed)
    random.s1 = splitmix(&seed)
    random.s2 = splitmix(&seed)
    random.s3 = splitmix(&seed)


cdef inline uint64_t rotated(uint64_t value, int bits) noexcept nogil:
    return (value << bits) | (value >> (64 - bits))


cdef inline uint64_t next_bits(random_t *random) noexcept nogil:
    cdef uint64_t result = rotated(random.s1 * 5, 7) * 9
    cdef uint64_t shifted = random.s1 << 17
    random.s2 ^= random.s0
    random.s3 ^= random.s1
    random.s1 ^= random.s2
    random.s0 ^= random.s3
    random.s2 ^= shifted
    random.s3 = rotated(random.s3, 45)
    return result


cdef inline double uniform(random_t *random) noexcept nogil:
    """Return a number in (0, 1)."""
    return (<double> (next_bits(random) >> 11) + 0.5) / 9007199254740992.0


cdef inline double exponential(random_t *random) noexcept nogil:
    """Return an exponential number of mean 1."""
    return -log(uniform(random))


cdef inline double normal(random_t *random) noexcept nogil:
    """Return a standard normal number (Box and Muller, 1958)."""
    cdef double radius = sqrt(-2.0 * log(uniform(random)))
    return radius * cos(6.283185307179586 * uniform(random))
