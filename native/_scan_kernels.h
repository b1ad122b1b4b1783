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

/* Sums over the lanes up to each lane, and the last lane of that everywhere. */
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

INLINE reals NAME(last)(reals x) {
#if LANES == 8
    return __builtin_shufflevector(x, x, 7, 7, 7, 7, 7, 7, 7, 7);
#elif LANES == 4
    return __builtin_shufflevector(x, x, 3, 3, 3, 3);
#else
    return __builtin_shufflevector(x, x, 1, 1);
#endif
}

/* Pairs (notional, quantity) lie side by side: two vectors hold LANES of them. */
#if LANES == 8
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define ODD 1, 3, 5, 7, 9, 11, 13, 15
#define LOW 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif LANES == 4
#define EVEN 0, 2, 4, 6
#define ODD 1, 3, 5, 7
#define LOW 0, 4, 1, 5
#define HIGH 2, 6, 3, 7
#else
#define EVEN 0, 2
#define ODD 1, 3
#define LOW 0, 2
#define HIGH 1, 3
#endif

INLINE void NAME(write_pairs)(double *to, reals notional, reals quantity) {
    NAME(write)(to, __builtin_shufflevector(notional, quantity, LOW));
    NAME(write)(to + LANES, __builtin_shufflevector(notional, quantity, HIGH));
}

/* LANES / 2 pairs from anywhere, in one vector. */
INLINE reals NAME(gather)(const double *pairs, const int64_t *at, ptrdiff_t start) {
    typedef double pair __attribute__((vector_size(16)));
    pair some[LANES / 2];
    for (int k = 0; k < LANES / 2; k++)
        memcpy(&some[k], pairs + 2 * (at[k] - start), sizeof some[k]);
#if LANES == 8
    typedef double quad __attribute__((vector_size(32)));
    quad low = __builtin_shufflevector(some[0], some[1], 0, 1, 2, 3);
    quad high = __builtin_shufflevector(some[2], some[3], 0, 1, 2, 3);
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
#elif LANES == 4
    return __builtin_shufflevector(some[0], some[1], 0, 1, 2, 3);
#else
    return some[0];
#endif
}

INLINE int NAME(any)(whole x) {
    int64_t all = 0;
    for (int k = 0; k < LANES; k++)
        all |= x[k];
    return all != 0;
}

/* What `run` does with the sums up to an element. */
enum { NAME(SESSION), NAME(ROLL), NAME(FORWARD) };

/* One element, for what does not fill a vector; returns whether its window was below the least. */
INLINE int NAME(put_one)(int form, ptrdiff_t i, double notional, double quantity, const tapeline_rest *rest,
                         double *pairs, double *out) {
    int is_lost = 0;
    double notional_before = 0.0, quantity_before = 0.0;
    if (form == NAME(ROLL)) {
        notional_before = rest->base_notional - pairs[2 * i];
        quantity_before = rest->base_quantity - pairs[2 * i + 1];
        is_lost = notional + notional_before < rest->least_notional || quantity + quantity_before < rest->least_quantity;
    }
    if (form != NAME(FORWARD))
        out[i] = (notional + notional_before) / (quantity + quantity_before) * 1e-9;
    if (form != NAME(SESSION)) {
        pairs[2 * i] = notional;
        pairs[2 * i + 1] = quantity;
    }
    return is_lost;
}

/* Returns 0 when a window was below the least. */
INLINE int NAME(run)(int form, const int64_t *prices, const int64_t *sizes, ptrdiff_t n, tapeline_sums *sums,
                     const tapeline_rest *rest, double *pairs, double *out, int stream, int fresh) {
    const double notional_before = sums->notional, quantity_before = sums->quantity;
    double notional = 0.0, quantity = 0.0;
    ptrdiff_t i = 0;
    int is_lost = 0;
    for (; stream && i < n && ((uintptr_t)(out + i) & (sizeof(reals) - 1)); i++) {
        sums->sizes |= sizes[i];
        sums->prices |= prices[i];
        notional += (double)prices[i] * (double)sizes[i];
        quantity += (double)sizes[i];
        is_lost |= NAME(put_one)(form, i, notional_before + notional, quantity_before + quantity, rest, pairs, out);
    }
    reals running_notional = (reals){0} + notional, running_quantity = (reals){0} + quantity;
    whole all_sizes = {0}, all_prices = {0}, lost = {0};
    for (; i + LANES <= n; i += LANES) {
        __builtin_prefetch(prices + i + 256);
        __builtin_prefetch(sizes + i + 256);
        whole size = NAME(read_whole)(sizes + i), price = NAME(read_whole)(prices + i);
        all_sizes |= size;
        if (form != NAME(SESSION))
            all_prices |= price;
        reals q = NAME(to_reals)(size);
        reals m = NAME(rise)(NAME(to_reals)(price) * q);
        q = NAME(rise)(q);
        reals up_to_notional = m + running_notional, up_to_quantity = q + running_quantity;
        if (!fresh) {
            up_to_notional += notional_before;
            up_to_quantity += quantity_before;
        }
        running_notional += NAME(last)(m);
        running_quantity += NAME(last)(q);
        reals window_notional = up_to_notional, window_quantity = up_to_quantity;
        if (form == NAME(ROLL)) {
            const reals low = NAME(read)(pairs + 2 * i), high = NAME(read)(pairs + 2 * i + LANES);
            window_notional += rest->base_notional - __builtin_shufflevector(low, high, EVEN);
            window_quantity += rest->base_quantity - __builtin_shufflevector(low, high, ODD);
            lost |= (window_notional < rest->least_notional) | (window_quantity < rest->least_quantity);
        }
        if (form != NAME(SESSION))
            NAME(write_pairs)(pairs + 2 * i, up_to_notional, up_to_quantity);
        if (form == NAME(FORWARD))
            continue;
        reals vwap = window_notional / window_quantity * 1e-9;
        if (stream)
            NAME(write_through)(out + i, vwap);
        else
            NAME(write)(out + i, vwap);
    }
    for (int k = 0; k < LANES; k++) {
        sums->sizes |= all_sizes[k];
        sums->prices |= all_prices[k];
    }
    notional = running_notional[0];
    quantity = running_quantity[0];
    for (; i < n; i++) {
        sums->sizes |= sizes[i];
        sums->prices |= prices[i];
        notional += (double)prices[i] * (double)sizes[i];
        quantity += (double)sizes[i];
        is_lost |= NAME(put_one)(form, i, notional_before + notional, quantity_before + quantity, rest, pairs, out);
    }
    sums->notional = notional_before + notional;
    sums->quantity = quantity_before + quantity;
    return !is_lost && !NAME(any)(lost);
}

static TARGET void NAME(session)(const int64_t *prices, const int64_t *sizes, ptrdiff_t n, tapeline_sums *sums,
                                 double *out, int stream) {
    if (stream)
        NAME(run)(NAME(SESSION), prices, sizes, n, sums, NULL, NULL, out, 1, 0);
    else
        NAME(run)(NAME(SESSION), prices, sizes, n, sums, NULL, NULL, out, 0, 0);
}

static TARGET int NAME(roll)(const int64_t *prices, const int64_t *sizes, ptrdiff_t n, tapeline_sums *sums,
                             const tapeline_rest *rest, double *pairs, double *out, int stream) {
    /* A window within one block has no sums before it: two additions less. */
    const int fresh = sums->notional == 0.0 && sums->quantity == 0.0;
    if (stream && fresh)
        return NAME(run)(NAME(ROLL), prices, sizes, n, sums, rest, pairs, out, 1, 1);
    if (stream)
        return NAME(run)(NAME(ROLL), prices, sizes, n, sums, rest, pairs, out, 1, 0);
    return NAME(run)(NAME(ROLL), prices, sizes, n, sums, rest, pairs, out, 0, 0);
}

static TARGET void NAME(forward)(const int64_t *prices, const int64_t *sizes, ptrdiff_t n, tapeline_sums *sums,
                                 double *pairs) {
    NAME(run)(NAME(FORWARD), prices, sizes, n, sums, NULL, pairs, NULL, 0, 0);
}

INLINE int NAME(join_one)(const double *head, const double *pair, const tapeline_rest *rest, double *out) {
    const double notional = head[0] + (rest->base_notional - pair[0]);
    const double quantity = head[1] + (rest->base_quantity - pair[1]);
    *out = notional / quantity * 1e-9;
    return notional < rest->least_notional || quantity < rest->least_quantity;
}

INLINE int NAME(join_all)(const double *heads, const int64_t *left, ptrdiff_t n, ptrdiff_t start,
                          const tapeline_rest *rest, const double *pairs, double *out, int stream) {
    ptrdiff_t i = 0;
    int is_lost = 0;
    for (; stream && i < n && ((uintptr_t)(out + i) & (sizeof(reals) - 1)); i++)
        is_lost |= NAME(join_one)(heads + 2 * i, pairs + 2 * (left[i] - start), rest, out + i);
    whole lost = {0};
    for (; i + LANES <= n; i += LANES) {
        const reals low = NAME(gather)(pairs, left + i, start), high = NAME(gather)(pairs, left + i + LANES / 2, start);
        const reals head_low = NAME(read)(heads + 2 * i), head_high = NAME(read)(heads + 2 * i + LANES);
        reals notional = rest->base_notional - __builtin_shufflevector(low, high, EVEN);
        reals quantity = rest->base_quantity - __builtin_shufflevector(low, high, ODD);
        notional += __builtin_shufflevector(head_low, head_high, EVEN);
        quantity += __builtin_shufflevector(head_low, head_high, ODD);
        lost |= (notional < rest->least_notional) | (quantity < rest->least_quantity);
        reals vwap = notional / quantity * 1e-9;
        if (stream)
            NAME(write_through)(out + i, vwap);
        else
            NAME(write)(out + i, vwap);
    }
    for (; i < n; i++)
        is_lost |= NAME(join_one)(heads + 2 * i, pairs + 2 * (left[i] - start), rest, out + i);
    return !is_lost && !NAME(any)(lost);
}

static TARGET int NAME(join)(const double *heads, const int64_t *left, ptrdiff_t n, ptrdiff_t start,
                             const tapeline_rest *rest, const double *pairs, double *out, int stream) {
    if (stream)
        return NAME(join_all)(heads, left, n, start, rest, pairs, out, 1);
    return NAME(join_all)(heads, left, n, start, rest, pairs, out, 0);
}

static TARGET int NAME(ordered)(const int64_t *times, ptrdiff_t n) {
    whole backwards = {0};
    ptrdiff_t i = 1;
    for (; i + LANES <= n; i += LANES) {
        __builtin_prefetch(times + i + 256);
        backwards |= NAME(read_whole)(times + i) < NAME(read_whole)(times + i - 1);
    }
    int64_t last = 0;
    for (; i < n; i++)
        last |= times[i] < times[i - 1];
    return !last && !NAME(any)(backwards);
}

/* Windows that share the read of LANES times: a window's edge moves by one trade on average. */
enum { NAME(TOGETHER) = LANES == 8 ? 2 : 1 };

/* How many of LANES times are <= edge: they are in order, so those are the first ones. */
INLINE ptrdiff_t NAME(count)(whole times, int64_t edge) {
#if defined(__x86_64__) && LANES == 8
    return __builtin_popcount(_mm512_cmple_epi64_mask((__m512i)times, _mm512_set1_epi64(edge)));
#elif defined(__x86_64__) && LANES == 4
    __m256i later = _mm256_cmpgt_epi64((__m256i)times, _mm256_set1_epi64x(edge));
    return 4 - __builtin_popcount(_mm256_movemask_pd(_mm256_castsi256_pd(later)));
#else
    return (times[0] <= edge) + (times[1] <= edge);
#endif
}

/* left[0..TOGETHER-1] = the edges of windows that end at now[0..]; `at` is no larger than the first. Returns the last. */
INLINE ptrdiff_t NAME(advance)(const int64_t *times, ptrdiff_t at, const int64_t *now, int64_t window, int64_t *left) {
    const whole few = NAME(read_whole)(times + at);
    ptrdiff_t passed = 0;
    for (int k = 0; k < NAME(TOGETHER); k++)
        left[k] = at + (passed = NAME(count)(few, now[k] - window));
    if (__builtin_expect(passed < LANES, 1))
        return at + passed;
    for (int k = 0; k < NAME(TOGETHER); k++) {
        while (times[at] <= now[k] - window)
            at++;
        left[k] = at;
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

/* A walk along the times waits, at every step, for the step before; so several walks run side by side. */
static TARGET int NAME(edges)(const int64_t *times, ptrdiff_t total, ptrdiff_t first, ptrdiff_t n, ptrdiff_t from,
                              int64_t window, int64_t *left) {
    enum { WALKS = 5 };
    int64_t backwards = 0;
    for (ptrdiff_t i = first ? 0 : 1; i < n; i++)
        backwards |= times[first + i] < times[first + i - 1];
    if (backwards)
        return 0;
    const ptrdiff_t stride = n / WALKS / NAME(TOGETHER) * NAME(TOGETHER);
    ptrdiff_t k = 0;
    /* A vector read at left <= first + k stays inside when LANES times follow the last element of the batch. */
    if (stride >= 32 && first + n + LANES <= total) {
        ptrdiff_t at[WALKS];
        for (int walk = 0; walk < WALKS; walk++) {
            const ptrdiff_t now = first + walk * stride;
            from = at[walk] = NAME(bisect)(times, from, now, times[now] - window);
        }
        for (; k < stride; k += NAME(TOGETHER)) {
            for (int walk = 0; walk < WALKS; walk++) {
                const ptrdiff_t now = k + walk * stride;
                at[walk] = NAME(advance)(times, at[walk], times + first + now, window, left + now);
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
    LANES, NAME(session), NAME(roll), NAME(forward), NAME(join), NAME(edges), NAME(ordered),
};

#undef NAME
#undef INLINE
#undef reals
#undef whole
#undef naturals
#undef EVEN
#undef ODD
#undef LOW
#undef HIGH
