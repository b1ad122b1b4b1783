/* Running sums of price * size and of size over a batch, at the speed of memory.
 *
 * The kernels stand once, in _scan_kernels.h, and are compiled for 2, 4 and 8 lanes: 2 runs anywhere (SSE2, NEON),
 * 4 needs AVX2, 8 needs AVX-512. One wheel holds all of them and tapeline_scan_for picks what the processor has.
 * Source of the scan inside a vector: Hillis and Steele, "Data parallel algorithms", 1986.
 */
#ifndef TAPELINE_SCAN_H
#define TAPELINE_SCAN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Vectors are passed between inlined functions only, so no calling convention is at stake. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"

/* Sums that lie before the batch: notional (price * size) and quantity, in nanos and as doubles. */
typedef struct {
    double notional;
    double quantity;
} tapeline_sums;

typedef struct {
    int lanes;
    /* out[i] = VWAP of `sums` and elements 0..i; returns the OR of all sizes, below zero when any of them is. */
    int64_t (*session)(const int64_t *prices, const int64_t *sizes, ptrdiff_t n, tapeline_sums *sums, double *out,
                       int stream);
    /* out[i] = VWAP of `sums`, elements 0..i, and the sums tail_*[i]. */
    int64_t (*window)(const int64_t *prices, const int64_t *sizes, ptrdiff_t n, tapeline_sums *sums,
                      const double *tail_notional, const double *tail_quantity, double *out, int stream);
    /* notional[i], quantity[i] = `sums` and elements 0..i (forward) or i..n-1 (backward). */
    int64_t (*forward)(const int64_t *prices, const int64_t *sizes, ptrdiff_t n, tapeline_sums *sums,
                       double *notional, double *quantity);
    void (*backward)(const int64_t *prices, const int64_t *sizes, ptrdiff_t n, tapeline_sums *sums,
                     double *notional, double *quantity);
    /* out[i] = VWAP of head_*[i] and tail_*[left[i] - start]. */
    void (*join)(const double *head_notional, const double *head_quantity, const int64_t *left, ptrdiff_t n,
                 ptrdiff_t start, const double *tail_notional, const double *tail_quantity, double *out);
    /* left[k] = how many times are <= times[first + k] - window, for k in 0..n-1; `from` is a count already known to
     * be no larger than the first. Returns 0, and leaves `left` alone, when one of
     * those times is below its predecessor. */
    int (*edges)(const int64_t *times, ptrdiff_t total, ptrdiff_t first, ptrdiff_t n, ptrdiff_t from,
                 int64_t window, int64_t *left);
} tapeline_scan;

/* Elements that one call sums from zero before the sums so far are added: keeps the rounding of long sums small. */
enum { TAPELINE_BLOCK = 1024 };

#define TAPELINE_JOIN(a, b) TAPELINE_JOIN_(a, b)
#define TAPELINE_JOIN_(a, b) a##b

#define LANES 2
#define TARGET
#include "_scan_kernels.h"
#undef LANES
#undef TARGET

#if defined(__x86_64__)
#define LANES 4
#define TARGET __attribute__((target("avx2,fma,popcnt")))
#include "_scan_kernels.h"
#undef LANES
#undef TARGET

#define LANES 8
#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl,avx2,fma,popcnt")))
#include "_scan_kernels.h"
#undef LANES
#undef TARGET
#endif

/* Make what was streamed past the cache visible before anything that follows. */
static inline void tapeline_fence(void) {
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

/* The kernels with the most lanes that this processor runs, and no more than `lanes`. */
static inline const tapeline_scan *tapeline_scan_for(int lanes) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (lanes >= 8 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return &tapeline_scan_8;
    if (lanes >= 4 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &tapeline_scan_4;
#endif
    (void)lanes;
    return &tapeline_scan_2;
}

#pragma GCC diagnostic pop
#endif
