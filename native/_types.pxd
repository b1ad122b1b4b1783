"""The types that kernels share. All times, prices and quantities are integers in units of 1e-9."""
from libc.stdint cimport int64_t

# A price, a quantity or a UTC epoch time, in nanos.
ctypedef int64_t nanos_t
