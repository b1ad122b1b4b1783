"""128-bit integers: the product of two nanos, and sums of such products, do not fit into 64 bits.

Cython knows no 128-bit type: `wide_t` is declared as a long long for its type rules and is `__int128` in C, so
operands are widened explicitly (`<wide_t>price * <wide_t>size`) and never mixed with narrower ones.
"""
from libc.stdint cimport int64_t, uint64_t

cdef extern from *:
    """
    typedef __int128 tapeline_wide_t;

    static inline tapeline_wide_t tapeline_product(int64_t a, int64_t b) { return (tapeline_wide_t)a * b; }

    /* Add in place; return 1 when the sum no longer fits, so that a loop can OR the answers of many. */
    static inline int tapeline_add(tapeline_wide_t *sum, tapeline_wide_t term) {
        return __builtin_add_overflow(*sum, term, sum);
    }

    static inline int tapeline_subtract(tapeline_wide_t *sum, tapeline_wide_t term) {
        return __builtin_sub_overflow(*sum, term, sum);
    }

    static inline int64_t tapeline_high(tapeline_wide_t a) { return (int64_t)(a >> 64); }
    static inline uint64_t tapeline_low(tapeline_wide_t a) { return (uint64_t)a; }

    /* floor(a * b / c) for a, b >= 0, c > 0 and a quotient that fits into 63 bits. */
    static inline int64_t tapeline_scale_floor(int64_t a, int64_t b, int64_t c) {
        return (int64_t)((tapeline_wide_t)a * b / c);
    }

    /* The nearest integer to a * b / c, halves up; a * b below 2**126, c below 2**63. */
    static inline int64_t tapeline_scale_nearest(int64_t a, int64_t b, int64_t c) {
        return (int64_t)(((tapeline_wide_t)a * b * 2 + c) / ((tapeline_wide_t)c * 2));
    }
    """
    ctypedef long long wide_t "tapeline_wide_t"
    wide_t product "tapeline_product"(int64_t a, int64_t b) noexcept nogil
    int add_to "tapeline_add"(wide_t *total, wide_t term) noexcept nogil
    int subtract_from "tapeline_subtract"(wide_t *total, wide_t term) noexcept nogil
    int64_t high_half "tapeline_high"(wide_t a) noexcept nogil
    uint64_t low_half "tapeline_low"(wide_t a) noexcept nogil
    int64_t scale_floor "tapeline_scale_floor"(int64_t a, int64_t b, int64_t c) noexcept nogil
    int64_t scale_nearest "tapeline_scale_nearest"(int64_t a, int64_t b, int64_t c) noexcept nogil
    double wide_to_double "(double)"(wide_t a) noexcept nogil


cdef inline object wide_to_int(wide_t a):
    """Return the value as a Python int."""
    return (<object>high_half(a) << 64) | low_half(a)
