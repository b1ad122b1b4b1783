# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Rolling VWAP by generations of trades: what native/vwap.pyx says of its method, step by step."""
from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from libc.stdlib cimport free, realloc

from native._scan cimport BLOCK, fence, rest_t, scan_t, sums_t
from native._types cimport nanos_t

cdef enum:
    # Windows of fewer trades than this are summed one by one.
    SHORT = 16

cdef enum:
    MEMORY_FAULT = 1
    TIMES_FAULT = 2
    SIZES_FAULT = 3


cdef inline rest_t nothing_subtracted() noexcept nogil:
    cdef rest_t rest
    rest.base_notional, rest.base_quantity = 0.0, 0.0
    rest.least_notional, rest.least_quantity = -INFINITY, -INFINITY
    return rest


cdef inline rest_t rest_of(const sums_t *sums) noexcept nogil:
    # A window that is less than a sixteenth of the generation before it would lose digits; where prices are below zero,
    # any may.
    cdef rest_t rest
    rest.base_notional, rest.base_quantity = sums.notional, sums.quantity
    rest.least_notional = INFINITY if sums.prices < 0 else sums.notional / 16.0
    rest.least_quantity = sums.quantity / 16.0
    return rest


cdef inline void sum_to_mark(
    const nanos_t[::1] prices, const nanos_t[::1] sizes, Py_ssize_t first, Py_ssize_t mark, double *pairs
) noexcept nogil:
    # pairs[k] = less the sums of trades first + k .. mark - 1: with a base of zero, the rest is those sums.
    cdef double notional, quantity, notional_after = 0.0, quantity_after = 0.0
    cdef Py_ssize_t i = mark, block_start
    while i > first:
        block_start = max(first, i - BLOCK)
        notional, quantity = 0.0, 0.0
        while i > block_start:
            i -= 1
            notional += <double>prices[i] * <double>sizes[i]
            quantity += <double>sizes[i]
            pairs[2 * (i - first)] = -(notional_after + notional)
            pairs[2 * (i - first) + 1] = -(quantity_after + quantity)
        notional_after += notional
        quantity_after += quantity


cdef inline bint roll_generation(
    scan_t *scan,
    const nanos_t[::1] prices,
    const nanos_t[::1] sizes,
    Py_ssize_t start,
    Py_ssize_t length,
    sums_t *sums,
    const rest_t *rest,
    double *pairs,
    double *series,
    bint stream,
) noexcept nogil:
    # Return whether all windows kept their digits.
    cdef Py_ssize_t i = 0, block
    sums.notional, sums.quantity = 0.0, 0.0
    while i < length:
        block = min(BLOCK, length - i)
        if not scan.roll(
            &prices[start + i], &sizes[start + i], block, sums, rest, pairs + 2 * i, series + start + i, stream
        ):
            return False
        i += block
    return True


cdef inline void roll_by_count(
    scan_t *scan,
    const nanos_t[::1] prices,
    const nanos_t[::1] sizes,
    Py_ssize_t window,
    double *pairs,
    sums_t *sums,
    double *series,
    bint stream,
) noexcept nogil:
    """Write the VWAP of the last `window` trades, after each; `pairs` has room for a window, all zero, as `sums`."""
    # A generation is one window long. pairs[k] holds the sums of the generation before up to its trade k; all are zero
    # at first, so that the first generation is a session.
    cdef Py_ssize_t n = prices.shape[0], start = 0, length
    cdef rest_t rest = nothing_subtracted()
    while start < n:
        length = min(window, n - start)
        if not roll_generation(scan, prices, sizes, start, length, sums, &rest, pairs, series, stream):
            fence()
            sum_to_mark(prices, sizes, start - window + 1, start, pairs)
            pairs[2 * window - 2], pairs[2 * window - 1] = 0.0, 0.0
            rest = nothing_subtracted()
            roll_generation(scan, prices, sizes, start, length, sums, &rest, pairs, series, stream)
        rest = rest_of(sums)
        start += length
    fence()


cdef struct generation_t:
    # pairs[k] = the sums of its first k trades; there is room for so many pairs.
    double *pairs
    Py_ssize_t room


cdef inline double direct(
    const nanos_t[::1] prices, const nanos_t[::1] sizes, Py_ssize_t first, Py_ssize_t last
) noexcept nogil:
    cdef double notional = 0.0, quantity = 0.0
    cdef Py_ssize_t i
    for i in range(first, last + 1):
        notional += <double>prices[i] * <double>sizes[i]
        quantity += <double>sizes[i]
    return notional / quantity * 1e-9


cdef inline Py_ssize_t first_at(const int64_t *values, Py_ssize_t low, Py_ssize_t high, int64_t wanted) noexcept nogil:
    # The first position in low..high-1 whose value is at least `wanted`, else `high`.
    cdef Py_ssize_t middle
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


cdef inline bint sum_forward(
    scan_t *scan,
    const nanos_t[::1] prices,
    const nanos_t[::1] sizes,
    Py_ssize_t start,
    Py_ssize_t first,
    Py_ssize_t last,
    sums_t *sums,
    generation_t *generation,
) noexcept nogil:
    # Take trades first .. last - 1 into a generation that began at `start`; return whether there was memory.
    cdef Py_ssize_t room = last - start + 1, length
    cdef double *pairs
    if room > generation.room:
        room *= 2
        pairs = <double *>realloc(generation.pairs, 2 * room * sizeof(double))
        if pairs == NULL:
            return False
        generation.pairs, generation.room = pairs, room
    if first == start:
        generation.pairs[0], generation.pairs[1] = 0.0, 0.0
    while first < last:
        length = min(BLOCK, last - first)
        scan.forward(&prices[first], &sizes[first], length, sums, generation.pairs + 2 * (first - start + 1))
        first += length
    return True


cdef inline bint join_segment(
    scan_t *scan,
    const int64_t *left,
    Py_ssize_t block_start,
    Py_ssize_t first,
    Py_ssize_t last,
    Py_ssize_t start,
    Py_ssize_t mark,
    const rest_t *rest,
    const generation_t *before,
    const generation_t *now,
    double *series,
    bint stream,
) noexcept nogil:
    return scan.join(
        now.pairs + 2 * (first - mark + 1),
        left + (first - block_start),
        last - first,
        start,
        rest,
        before.pairs,
        series + first,
        stream,
    )


cdef inline int roll_generations(
    scan_t *scan,
    const nanos_t[::1] prices,
    const nanos_t[::1] sizes,
    const nanos_t[::1] times,
    nanos_t window,
    generation_t *before,
    generation_t *now,
    double *series,
    bint stream,
) noexcept nogil:
    # The generation before is trades start .. mark - 1, that of now mark .. known - 1.
    cdef Py_ssize_t n = times.shape[0], block_start = 0, block_end, segment_end, i, first, oldest = 0
    cdef Py_ssize_t start = 0, mark = 0, known = 0
    cdef int64_t[BLOCK] left
    cdef rest_t rest = nothing_subtracted()
    cdef sums_t sums
    sums.notional, sums.quantity, sums.sizes, sums.prices = 0.0, 0.0, 0, 0
    while block_start < n:
        block_end = min(block_start + BLOCK, n)
        if not scan.edges(&times[0], n, block_start, block_end - block_start, oldest, window, left):
            return TIMES_FAULT
        oldest = left[block_end - block_start - 1]
        i = block_start
        while i < block_end:
            first = left[i - block_start]
            if first >= mark:
                # The window has passed the mark.
                if i - first < SHORT:
                    sums.sizes |= sizes[i]
                    sums.prices |= prices[i]
                    series[i] = direct(prices, sizes, first, i)
                    i += 1
                    continue
                before[0], now[0] = now[0], before[0]
                start = mark
                if known != i:
                    start = first
                    sums.notional, sums.quantity = 0.0, 0.0
                    if not sum_forward(scan, prices, sizes, start, start, i, &sums, before):
                        return MEMORY_FAULT
                mark, known = i, i
                rest = rest_of(&sums)
                sums.notional, sums.quantity = 0.0, 0.0
            segment_end = block_start + first_at(left, i - block_start, block_end - block_start, mark)
            if not sum_forward(scan, prices, sizes, mark, i, segment_end, &sums, now):
                return MEMORY_FAULT
            known = segment_end
            if not join_segment(
                scan, left, block_start, i, segment_end, start, mark, &rest, before, now, series, stream
            ):
                fence()
                sum_to_mark(prices, sizes, first, mark, before.pairs + 2 * (first - start))
                rest = nothing_subtracted()
                join_segment(
                    scan, left, block_start, i, segment_end, start, mark, &rest, before, now, series, stream
                )
            i = segment_end
        block_start = block_end
    return SIZES_FAULT if sums.sizes < 0 else 0


cdef inline int roll_by_time(
    scan_t *scan,
    const nanos_t[::1] prices,
    const nanos_t[::1] sizes,
    const nanos_t[::1] times,
    nanos_t window,
    double *series,
    bint stream,
) noexcept nogil:
    """Write the VWAP of the last `window` nanos, after each trade; return 0, or what went wrong."""
    cdef generation_t before, now
    cdef int fault
    before.pairs, before.room, now.pairs, now.room = NULL, 0, NULL, 0
    fault = roll_generations(scan, prices, sizes, times, window, &before, &now, series, stream)
    fence()
    free(before.pairs)
    free(now.pairs)
    return fault
