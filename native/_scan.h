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

/* Sums that lie before the batch: notional (price * size) and quantity, in nanos and as doubles. `sizes` and `prices`
 * take in the OR of all that was summed: below zero when any of them is. */
typedef struct {
    double notional;
    double quantity;
    int64_t sizes;
    int64_t prices;
} tapeline_sums;

/* How a window that begins before a mark gets what lies there: `base` less a pair (notional and quantity side by side),
 * where a pair holds the sums up to a place and `base` those up to the mark. A window below `least` would have lost too
 * many digits by that. */
typedef struct {
    double base_notional;
    double base_quantity;
    double least_notional;
    double least_quantity;
} tapeline_rest;

typedef struct {
    int lanes;
    /* out[i] = VWAP of `sums` and elements 0..i. */
    void (*session)(const int64_t *prices, const int64_t *sizes, ptrdiff_t n, tapeline_sums *sums, double *out,
                    int stream);
    /* out[i] = VWAP of `sums`, elements 0..i and the rest by pairs[i]; then pairs[i] = `sums` and elements 0..i.
     * Returns 0 when a window was below the least. */
    int (*roll)(const int64_t *prices, const int64_t *sizes, ptrdiff_t n, tapeline_sums *sums,
                const tapeline_rest *rest, double *pairs, double *out, int stream);
    /* pairs[i] = `sums` and elements 0..i. */
    void (*forward)(const int64_t *prices, const int64_t *sizes, ptrdiff_t n, tapeline_sums *sums, double *pairs);
    /* out[i] = VWAP of heads[i] and the rest by pairs[left[i] - start]. Returns 0 when a window was below the
     * least. */
    int (*join)(const double *heads, const int64_t *left, ptrdiff_t n, ptrdiff_t start, const tapeline_rest *rest,
                const double *pairs, double *out, int stream);
    /* left[k] = how many times are <= times[first + k] - window, for k in 0..n-1; `from` is a count already known to
     * be no larger than the first. Returns 0, and leaves `left` alone, when one of
     * those times is below its predecessor. */
    int (*edges)(const int64_t *times, ptrdiff_t total, ptrdiff_t first, ptrdiff_t n, ptrdiff_t from,
                 int64_t window, int64_t *left);
    /* Whether no time is below its predecessor. */
    int (*ordered)(const int64_t *times, ptrdiff_t n);
} tapeline_scan;

/* Elements that one call sums from zero before the sums so far are added: keeps the rounding of long sums small. Not a
 * power of two: what is read in strides of a part of a block (edges) would lie at the same places in its pages. */
enum { TAPELINE_BLOCK = 2000 };

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
