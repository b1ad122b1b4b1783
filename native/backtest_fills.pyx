# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""The fills of one parent of a backtest, kept without the interpreter and given out as columns."""
from libc.stdlib cimport free, realloc

import numpy as np

from native._types cimport nanos_t

FILL_COLUMNS = ("time_nanos", "price_nanos", "size_nanos", "mid_nanos", "impact_nanos", "is_passive")


cdef class FillLog:
    """Fills in the order in which they were made."""

    def __cinit__(self):
        self.fills = NULL

    def __dealloc__(self):
        free(self.fills)

    def columns(self):
        """Return the fills as a dictionary of int64 columns by the names in `FILL_COLUMNS`."""
        cdef Py_ssize_t i
        table = np.zeros((6, self.count), np.int64)
        cdef nanos_t[:, ::1] cells = table
        for i in range(self.count):
            cells[0, i] = self.fills[i].time
            cells[1, i] = self.fills[i].price
            cells[2, i] = self.fills[i].size
            cells[3, i] = self.fills[i].mid
            cells[4, i] = self.fills[i].impact
            cells[5, i] = self.fills[i].is_passive
        return dict(zip(FILL_COLUMNS, table, strict=True))

    cdef bint add(self, fill_t fill) noexcept nogil:
        cdef fill_t *larger
        cdef Py_ssize_t capacity
        if self.count == self.capacity:
            capacity = max(64, 2 * self.capacity)
            larger = <fill_t *>realloc(self.fills, capacity * sizeof(fill_t))
            if larger == NULL:
                return False
            self.fills = larger
            self.capacity = capacity
        self.fills[self.count] = fill
        self.count += 1
        return True
