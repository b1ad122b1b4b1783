"""Kernels of running sums, in C, for as many lanes as the processor has. See _scan.h."""
from libc.stdint cimport int64_t

cdef extern from "_scan.h" nogil:
    enum:
        BLOCK "TAPELINE_BLOCK"

    ctypedef struct sums_t "tapeline_sums":
        double notional
        double quantity
        int64_t sizes
        int64_t prices

    ctypedef struct rest_t "tapeline_rest":
        double base_notional
        double base_quantity
        double least_notional
        double least_quantity

    ctypedef struct scan_t "const tapeline_scan":
        int lanes
        void (*session)(
            const int64_t *prices, const int64_t *sizes, Py_ssize_t n, sums_t *sums, double *out, int stream
        ) noexcept nogil
        int (*roll)(
            const int64_t *prices,
            const int64_t *sizes,
            Py_ssize_t n,
            sums_t *sums,
            const rest_t *rest,
            double *pairs,
            double *out,
            int stream,
        ) noexcept nogil
        void (*forward)(
            const int64_t *prices, const int64_t *sizes, Py_ssize_t n, sums_t *sums, double *pairs
        ) noexcept nogil
        int (*join)(
            const double *heads,
            const int64_t *left,
            Py_ssize_t n,
            Py_ssize_t start,
            const rest_t *rest,
            const double *pairs,
            double *out,
            int stream,
        ) noexcept nogil
        int (*edges)(
            const int64_t *times,
            Py_ssize_t total,
            Py_ssize_t first,
            Py_ssize_t n,
            Py_ssize_t start,
            int64_t window,
            int64_t *left,
        ) noexcept nogil
        int (*ordered)(const int64_t *times, Py_ssize_t n) noexcept nogil

    scan_t *scan_for "tapeline_scan_for"(int lanes) noexcept
    void fence "tapeline_fence"() noexcept
