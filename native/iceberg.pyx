# cython: language_level=3, cdivision=True, auto_pickle=False, autotestdict=False
"""Iceberg slices: how much of a resting quantity to show at a time.

Slices of one size give an iceberg away, so each is drawn evenly from a range around the size that is to be shown. The
draw depends on the seed and the slice's number alone: a restart shows the same. Plain-Python twin:
tests/native/schedule_twins.py.
"""
from libc.stdint cimport int64_t, uint64_t

from native._random cimport splitmix
from native._types cimport nanos_t


cdef class IcebergSlices:
    """Sizes around `shown_nanos`, in whole lots, at least one lot.

    `variation` is the half-width of the range as a fraction of the size. Raises ValueError for a size or lot that is
    not above zero, or a variation outside 0..0.9.
    """

    def __init__(self, shown_nanos, lot_nanos, variation=0.2, seed=0):
        if shown_nanos <= 0 or lot_nanos <= 0:
            raise ValueError(f"shown_nanos and lot_nanos must be above zero, not {shown_nanos}, {lot_nanos}")
        if not 0.0 <= variation <= 0.9:
            raise ValueError(f"variation must lie in 0..0.9, not {variation}")
        self.shown = shown_nanos
        self.lot = lot_nanos
        self.variation = variation
        self.seed = <uint64_t>(seed & 0xFFFFFFFFFFFFFFFF)

    def size_nanos(self, int64_t number, nanos_t left_nanos):
        """Return the size of slice `number` (from 0) when `left_nanos` are left: never more than that."""
        return self.size(number, left_nanos)

    cdef nanos_t size(self, int64_t number, nanos_t left) noexcept nogil:
        cdef uint64_t state = self.seed + <uint64_t>number * <uint64_t>0xD1B54A32D192ED03
        cdef double draw = <double>(splitmix(&state) >> 11) / 9007199254740992.0
        cdef nanos_t size = <nanos_t>(self.shown * (1.0 + self.variation * (2.0 * draw - 1.0)))
        size = max(size // self.lot, 1) * self.lot
        if left <= 0:
            return 0
        return min(size, left)
