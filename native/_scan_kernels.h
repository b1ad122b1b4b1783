/* The kernels for one number of lanes: included by _scan.h with LANES and TARGET set. No guard, on purpose. */

#define NAME(name) TAPELINE_JOIN(TAPELINE_JOIN(tapeline_, name), TAPELINE_JOIN(_, LANES))
#define INLINE static inline __attribute__((always_inline)) TARGET
#define reals NAME(reals)
#define whole NAME(whole)
#define naturals NAME(naturals)

typedef double reals __attribute__((vector_size(8 * LANES)));
typedef int64_t whole __attribute__((vector_size(8 * LANES)));
typedef uint64_t naturals __attribute__((vector_size(8 * LANES)));

INLINE reals NAME(read)(const double *from) {
    reals x;
    memcpy(&x, from, sizeof x);
    return x;
}

INLINE whole NAME(read_whole)(const int64_t *from) {
    whole x;
    memcpy(&x, from, sizeof x);
    return x;
}

INLINE void NAME(write)(double *to, reals x) { memcpy(to, &x, sizeof x); }

/* Past the cache, so that the line is not read first; `to` is aligned to the vector. */
INLINE void NAME(write_through)(double *to, reals x) {
#if defined(__x86_64__) && LANES == 8
    _mm512_stream_pd(to, (__m512d)x);
#elif defined(__x86_64__) && LANES == 4
    _mm256_stream_pd(to, (__m256d)x);
#elif defined(__x86_64__)
    _mm_stream_pd(to, (__m128d)x);
#else
    NAME(write)(to, x);
#endif
}

/* int64 to double, correctly rounded. AVX2 has no such instruction: the halves are put into the mantissas of 2**84 and
 * 2**52 and those are taken off again (a well-known trick; exact until the one addition). */
INLINE reals NAME(to_reals)(whole x) {
#if LANES == 4
    naturals high = ((naturals)x >> 32) ^ 0x4530000080000000u;
    naturals low = ((naturals)x & 0xffffffffu) | 0x4330000000000000u;
    return ((reals)high - (0x1p84 + 0x1p63 + 0x1p52)) + (reals)low;
#elif LANES == 8
    return __builtin_convertvector(x, reals);
#else
    return (reals){(double)x[0], (double)x[1]};
#endif
}

/* Sums over the lanes up to each lane, and the last lane of that everywhere; then the same from the other end. */
INLINE reals NAME(rise)(reals x) {
    const reals zero = {0};
#if LANES == 8
    /* One instruction a step: GCC makes three of the general shuffle with zero. */
    (void)zero;
    x += (reals)_mm512_maskz_alignr_epi64(0xfe, (__m512i)x, (__m512i)x, 7);
    x += (reals)_mm512_maskz_alignr_epi64(0xfc, (__m512i)x, (__m512i)x, 6);
    return x + (reals)_mm512_maskz_shuffle_i64x2(0xf0, (__m512i)x, (__m512i)x, 0x44);
#elif LANES == 4
    x += __builtin_shufflevector(zero, x, 0, 4, 5, 6);
    return x + __builtin_shufflevector(zero, x, 0, 0, 4, 5);
#else
    return x + __builtin_shufflevector(zero, x, 0, 2);
#endif
}

INLINE reals NAME(fall)(reals x) {
    const reals zero = {0};
#if LANES == 8
    (void)zero;
    x += (reals)_mm512_maskz_alignr_epi64(0x7f, (__m512i)x, (__m512i)x, 1);
    x += (reals)_mm512_maskz_alignr_epi64(0x3f, (__m512i)x, (__m512i)x, 2);
    return x + (reals)_mm512_maskz_shuffle_i64x2(0x0f, (__m512i)x, (__m512i)x, 0x0e);
#elif LANES == 4
    x += __builtin_shufflevector(x, zero, 1, 2, 3, 4);
    return x + __builtin_shufflevector(x, zero, 2, 3, 4, 4);
#else
    return x + __builtin_shufflevector(x, zero, 1, 2);
#endif
}

INLINE reals NAME(last)(reals x) {
#if LANES == 8
    return __builtin_shufflevector(x, x, 7, 7, 7, 7, 7, 7, 7, 7);
#elif LANES == 4
    return __builtin_shufflevector(x, x, 3, 3, 3, 3);
#else
    return __builtin_shufflevector(x, x, 1, 1);
#endif
}

INLINE reals NAME(first)(reals x) {
#if LANES == 8
    return __builtin_shufflevector(x, x, 0, 0, 0, 0, 0, 0, 0, 0);
#elif LANES == 4
    return __builtin_shufflevector(x, x, 0, 0, 0, 0);
#else
    return __builtin_shufflevector(x, x, 0, 0);
#endif
}

/* What `run` does with the sums up to an element. */
enum { NAME(QUOTIENT), NAME(QUOTIENT_WITH_TAIL), NAME(SUMS) };

/* One element, for what does not fill a vector. */
INLINE void NAME(put_one)(int form, ptrdiff_t i, double notional, double quantity, const double *tail_notional,
                          const double *tail_quantity, double *out, double *out_quantity) {
    if (form == NAME(SUMS)) {
        out[i] = notional;
        out_quantity[i] = quantity;
    } else if (form == NAME(QUOTIENT_WITH_TAIL)) {
        out[i] = (notional + tail_notional[i]) / (quantity + tail_quantity[i]) * 1e-9;
    } else {
        out[i] = notional / quantity * 1e-9;
    }
}

INLINE int64_t NAME(run)(int form, const int64_t *prices, const int64_t *sizes, ptrdiff_t n, tapeline_sums *sums,
                         const double *tail_notional, const double *tail_quantity, double *out,
                         double *out_quantity, int stream, int fresh) {
    const double notional_before = sums->notional, quantity_before = sums->quantity;
    double notional = 0.0, quantity = 0.0;
    int64_t signs = 0;
    ptrdiff_t i = 0;
    for (; stream && i < n && ((uintptr_t)(out + i) & (sizeof(reals) - 1)); i++) {
        signs |= sizes[i];
        notional += (double)prices[i] * (double)sizes[i];
        quantity += (double)sizes[i];
        NAME(put_one)(form, i, notional_before + notional, quantity_before + quantity, tail_notional, tail_quantity,
                      out, out_quantity);
    }
    reals running_notional = (reals){0} + notional, running_quantity = (reals){0} + quantity;
    whole all = {0};
    for (; i + LANES <= n; i += LANES) {
        __builtin_prefetch(prices + i + 256);
        __builtin_prefetch(sizes + i + 256);
        whole size = NAME(read_whole)(sizes + i);
        all |= size;
        reals q = NAME(to_reals)(size);
        reals m = NAME(rise)(NAME(to_reals)(NAME(read_whole)(prices + i)) * q);
        q = NAME(rise)(q);
        reals up_to_notional = m + running_notional, up_to_quantity = q + running_quantity;
        if (!fresh) {
            up_to_notional += notional_before;
            up_to_quantity += quantity_before;
        }
        running_notional += NAME(last)(m);
        running_quantity += NAME(last)(q);
        if (form == NAME(SUMS)) {
            NAME(write)(out + i, up_to_notional);
            NAME(write)(out_quantity + i, up_to_quantity);
            continue;
        }
        if (form == NAME(QUOTIENT_WITH_TAIL)) {
            up_to_notional += NAME(read)(tail_notional + i);
            up_to_quantity += NAME(read)(tail_quantity + i);
        }
        reals vwap = up_to_notional / up_to_quantity * 1e-9;
        if (stream)
            NAME(write_through)(out + i, vwap);
        else
            NAME(write)(out + i, vwap);
    }
    for (int k = 0; k < LANES; k++)
        signs |= all[k];
    notional = running_notional[0];
    quantity = running_quantity[0];
    for (; i < n; i++) {
        signs |= sizes[i];
        notional += (double)prices[i] * (double)sizes[i];
        quantity += (double)sizes[i];
        NAME(put_one)(form, i, notional_before + notional, quantity_before + quantity, tail_notional, tail_quantity,
                      out, out_quantity);
    }
    sums->notional = notional_before + notional;
    sums->quantity = quantity_before + quantity;
    return signs;
}

static TARGET int64_t NAME(session)(const int64_t *prices, const int64_t *sizes, ptrdiff_t n, tapeline_sums *sums,
                                    double *out, int stream) {
    if (stream)
        return NAME(run)(NAME(QUOTIENT), prices, sizes, n, sums, NULL, NULL, out, NULL, 1, 0);
    return NAME(run)(NAME(QUOTIENT), prices, sizes, n, sums, NULL, NULL, out, NULL, 0, 0);
}

static TARGET int64_t NAME(window)(const int64_t *prices, const int64_t *sizes, ptrdiff_t n, tapeline_sums *sums,
                                   const double *tail_notional, const double *tail_quantity, double *out, int stream) {
    /* A window within one block has no sums before it: two additions less. */
    const int fresh = sums->notional == 0.0 && sums->quantity == 0.0;
    if (stream && fresh)
        return NAME(run)(NAME(QUOTIENT_WITH_TAIL), prices, sizes, n, sums, tail_notional, tail_quantity, out,
                         NULL, 1, 1);
    if (stream)
        return NAME(run)(NAME(QUOTIENT_WITH_TAIL), prices, sizes, n, sums, tail_notional, tail_quantity, out,
                         NULL, 1, 0);
    return NAME(run)(NAME(QUOTIENT_WITH_TAIL), prices, sizes, n, sums, tail_notional, tail_quantity, out,
                         NULL, 0, 0);
}

static TARGET int64_t NAME(forward)(const int64_t *prices, const int64_t *sizes, ptrdiff_t n, tapeline_sums *sums,
                                    double *notional, double *quantity) {
    return NAME(run)(NAME(SUMS), prices, sizes, n, sums, NULL, NULL, notional, quantity, 0, 0);
}

INLINE void NAME(run_back)(const int64_t *prices, const int64_t *sizes, ptrdiff_t n, tapeline_sums *sums,
                           double *out_notional, double *out_quantity, int fresh) {
    const double notional_after = sums->notional, quantity_after = sums->quantity;
    reals running_notional = {0}, running_quantity = {0};
    ptrdiff_t i = n;
    for (; i >= LANES; i -= LANES) {
        reals q = NAME(to_reals)(NAME(read_whole)(sizes + i - LANES));
        reals m = NAME(fall)(NAME(to_reals)(NAME(read_whole)(prices + i - LANES)) * q);
        q = NAME(fall)(q);
        reals from_notional = m + running_notional, from_quantity = q + running_quantity;
        if (!fresh) {
            from_notional += notional_after;
            from_quantity += quantity_after;
        }
        NAME(write)(out_notional + i - LANES, from_notional);
        NAME(write)(out_quantity + i - LANES, from_quantity);
        running_notional += NAME(first)(m);
        running_quantity += NAME(first)(q);
    }
    double notional = running_notional[0], quantity = running_quantity[0];
    for (; i > 0; i--) {
        notional += (double)prices[i - 1] * (double)sizes[i - 1];
        quantity += (double)sizes[i - 1];
        out_notional[i - 1] = notional + notional_after;
        out_quantity[i - 1] = quantity + quantity_after;
    }
    sums->notional = notional_after + notional;
    sums->quantity = quantity_after + quantity;
}

static TARGET void NAME(backward)(const int64_t *prices, const int64_t *sizes, ptrdiff_t n, tapeline_sums *sums,
                                  double *notional, double *quantity) {
    if (sums->notional == 0.0 && sums->quantity == 0.0)
        NAME(run_back)(prices, sizes, n, sums, notional, quantity, 1);
    else
        NAME(run_back)(prices, sizes, n, sums, notional, quantity, 0);
}

static TARGET void NAME(join)(const double *head_notional, const double *head_quantity, const int64_t *left,
                              ptrdiff_t n, ptrdiff_t start, const double *tail_notional, const double *tail_quantity,
                              double *out) {
    for (ptrdiff_t i = 0; i < n; i++) {
        const ptrdiff_t at = left[i] - start;
        out[i] = (head_notional[i] + tail_notional[at]) / (head_quantity[i] + tail_quantity[at]) * 1e-9;
    }
}

/* How many of the LANES times from `times` on are <= edge: they are in order, so those are the first ones. */
INLINE ptrdiff_t NAME(count)(const int64_t *times, int64_t edge) {
#if defined(__x86_64__) && LANES == 8
    return __builtin_popcount(_mm512_cmple_epi64_mask(_mm512_loadu_si512(times), _mm512_set1_epi64(edge)));
#elif defined(__x86_64__) && LANES == 4
    __m256i later = _mm256_cmpgt_epi64(_mm256_loadu_si256((const __m256i *)times), _mm256_set1_epi64x(edge));
    return 4 - __builtin_popcount(_mm256_movemask_pd(_mm256_castsi256_pd(later)));
#else
    return (times[0] <= edge) + (times[1] <= edge);
#endif
}

INLINE ptrdiff_t NAME(advance)(const int64_t *times, ptrdiff_t at, int64_t edge) {
    ptrdiff_t passed = NAME(count)(times + at, edge);
    at += passed;
    while (__builtin_expect(passed == LANES, 0)) {
        passed = NAME(count)(times + at, edge);
        at += passed;
    }
    return at;
}

/* How many times in from..to-1 are <= edge, counted from 0. */
INLINE ptrdiff_t NAME(bisect)(const int64_t *times, ptrdiff_t from, ptrdiff_t to, int64_t edge) {
    while (from < to) {
        ptrdiff_t middle = from + (to - from) / 2;
        if (times[middle] <= edge)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* A walk along the times waits, at every step, for the step before; so eight walks run side by side. */
static TARGET int NAME(edges)(const int64_t *times, ptrdiff_t total, ptrdiff_t first, ptrdiff_t n, ptrdiff_t from,
                              int64_t window, int64_t *left) {
    enum { WALKS = 8 };
    int64_t backwards = 0;
    for (ptrdiff_t i = first ? 0 : 1; i < n; i++)
        backwards |= times[first + i] < times[first + i - 1];
    if (backwards)
        return 0;
    const ptrdiff_t stride = n / WALKS;
    ptrdiff_t k = 0;
    /* A vector read at left <= first + k stays inside when LANES times follow the last element of the batch. */
    if (stride >= 32 && first + n + LANES <= total) {
        ptrdiff_t at[WALKS];
        for (int walk = 0; walk < WALKS; walk++) {
            const ptrdiff_t now = first + walk * stride;
            from = at[walk] = NAME(bisect)(times, from, now, times[now] - window);
        }
        for (; k < stride; k++) {
            for (int walk = 0; walk < WALKS; walk++) {
                const ptrdiff_t now = k + walk * stride;
                left[now] = at[walk] = NAME(advance)(times, at[walk], times[first + now] - window);
            }
        }
        k = WALKS * stride;
        from = at[WALKS - 1];
    }
    for (; k < n; k++) {
        while (times[from] <= times[first + k] - window)
            from++;
        left[k] = from;
    }
    return 1;
}

static const tapeline_scan NAME(scan) = {
    LANES, NAME(session), NAME(window), NAME(forward), NAME(backward), NAME(join), NAME(edges),
};

#undef NAME
#undef INLINE
#undef reals
#undef whole
#undef naturals
