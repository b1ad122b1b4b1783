"""Kernels of running sums, in C, for as many lanes as the processor has. See _scan.h."""
from libc.stdint cimport int64_t

cdef extern from "_scan.h" nogil:
    ctypedef struct sums_t "tapeline_sums":
        double notional
        double quantity

    ctypedef struct scan_t "const tapeline_scan":
        int lanes
        int64_t (*session)(
            const int64_t *prices, const int64_t *sizes, Py_ssize_t n, sums_t *sums, double *out, int stream
        ) noexcept nogil
        int64_t (*window)(
            const int64_t *prices,
            const int64_t *sizes,
            Py_ssize_t n,
            sums_t *sums,
            const double *tail_notional,
            const double *tail_quantity,
            double *out,
            int stream,
        ) noexcept nogil
        int64_t (*forward)(
            const int64_t *prices, const int64_t *sizes, Py_ssize_t n, sums_t *sums, double *notional, double *quantity
        ) noexcept nogil
        void (*backward)(
            const int64_t *prices, const int64_t *sizes, Py_ssize_t n, sums_t *sums, double *notional, double *quantity
        ) noexcept nogil
        void (*join)(
            const double *head_notional,
            const double *head_quantity,
            const int64_t *left,
            Py_ssize_t n,
            Py_ssize_t start,
            const double *tail_notional,
            const double *tail_quantity,
            double *out,
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

    scan_t *scan_for "tapeline_scan_for"(int lanes) noexcept
    void fence "tapeline_fence"() noexcept
    int BLOCK "TAPELINE_BLOCK"
