# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The queues of a limit order book: pools of orders and price levels, and the record of what happened.

An order is named by a handle (generation and index), so that a cancel needs no search. The levels of a side lie
in one array, best last, found by binary search. A key orders both sides alike: the price of a bid, minus the
price of an ask, INT64_MAX for a market order in a call. `native.book` adds the matching.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport INT64_MAX, int32_t, int64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove


cdef inline int64_t at_most(int64_t left, int64_t right) noexcept nogil:
    return left if left < right else right


cdef void *grown(void *memory, int64_t count, size_t item) except NULL nogil:
    cdef void *larger = realloc(memory, count * item)
    if larger == NULL:
        with gil:
            raise MemoryError("the book cannot grow")
    return larger


cdef class Queues:
    """What a book holds, without the rules by which it trades."""

    def __cinit__(self):
        self.free_order = self.free_level = self.on_close_head = self.on_close_tail = NONE
        self.state = MODE_CLOSED

    def __dealloc__(self):
        free(self.orders)
        free(self.levels)
        free(self.sides[0].levels)
        free(self.sides[1].levels)
        free(self.anonymous)
        free(self.events)
        free(self.trades)
        free(self.quotes)

    # ------------------------------------------------------------------ the pools

    cdef int32_t allocate(self) except -1 nogil:
        cdef int32_t capacity, index
        if self.free_order == NONE:
            capacity = 256 if self.order_capacity == 0 else self.order_capacity * 2
            self.orders = <order_t *> grown(self.orders, capacity, sizeof(order_t))
            for index in range(capacity - 1, self.order_capacity - 1, -1):
                self.orders[index].generation = 1
                self.orders[index].state = STATE_FREE
                self.orders[index].next = self.free_order
                self.free_order = index
            self.order_capacity = capacity
        index = self.free_order
        self.free_order = self.orders[index].next
        self.orders[index].slot = NONE
        return index

    cdef int release(self, int32_t index) noexcept nogil:
        cdef order_t *order = &self.orders[index]
        if order.slot != NONE:
            self.anonymous_count -= 1
            self.anonymous[order.slot] = self.anonymous[self.anonymous_count]
            self.orders[self.anonymous[order.slot]].slot = order.slot
            order.slot = NONE
        order.state = STATE_FREE
        order.generation = 1 if order.generation == 0x7FFFFFFF else order.generation + 1
        order.next = self.free_order
        self.free_order = index
        return 0

    cdef int32_t level_for(self, int side, int64_t key) except -1 nogil:
        """Return the level of `key`, opened where there is none: a binary search, then one memmove."""
        cdef side_t *levels = &self.sides[side]
        cdef int32_t low = 0, high = levels.count, middle, index, capacity
        while low < high:
            middle = (low + high) >> 1
            if self.levels[levels.levels[middle]].key < key:
                low = middle + 1
            else:
                high = middle
        if low < levels.count and self.levels[levels.levels[low]].key == key:
            return levels.levels[low]
        if self.free_level == NONE:
            capacity = 64 if self.level_capacity == 0 else self.level_capacity * 2
            self.levels = <level_t *> grown(self.levels, capacity, sizeof(level_t))
            for index in range(capacity - 1, self.level_capacity - 1, -1):
                self.levels[index].head = self.free_level
                self.free_level = index
            self.level_capacity = capacity
        if levels.count == levels.capacity:
            capacity = 64 if levels.capacity == 0 else levels.capacity * 2
            levels.levels = <int32_t *> grown(levels.levels, capacity, sizeof(int32_t))
            levels.capacity = capacity
        index = self.free_level
        self.free_level = self.levels[index].head
        self.levels[index] = level_t(key=key, shown=0, total=0, head=NONE, tail=NONE, count=0)
        memmove(&levels.levels[low + 1], &levels.levels[low], (levels.count - low) * sizeof(int32_t))
        levels.levels[low] = index
        levels.count += 1
        return index

    cdef int close_level(self, int side, int32_t level) noexcept nogil:
        cdef side_t *levels = &self.sides[side]
        cdef int64_t key = self.levels[level].key
        cdef int32_t low = 0, high = levels.count - 1, middle
        while low < high:
            middle = (low + high) >> 1
            if self.levels[levels.levels[middle]].key < key:
                low = middle + 1
            else:
                high = middle
        levels.count -= 1
        memmove(&levels.levels[low], &levels.levels[low + 1], (levels.count - low) * sizeof(int32_t))
        self.levels[level].head = self.free_level
        self.free_level = level
        return 0

    cdef int rest(self, int32_t index) except -1 nogil:
        """Put the order at the end of the queue of its price."""
        cdef order_t *order = &self.orders[index]
        cdef int32_t number = self.level_for(order.side, order.key)
        cdef level_t *level = &self.levels[number]
        order.state = STATE_RESTING
        order.level = number
        order.shown = at_most(order.leaves, order.display) if order.display > 0 else order.leaves
        order.previous = level.tail
        order.next = NONE
        if level.tail == NONE:
            level.head = index
        else:
            self.orders[level.tail].next = index
        level.tail = index
        level.count += 1
        level.shown += order.shown
        level.total += order.leaves
        if order.owner == 0 and order.slot == NONE:
            if self.anonymous_count == self.anonymous_capacity:
                self.anonymous_capacity = 256 if self.anonymous_capacity == 0 else self.anonymous_capacity * 2
                self.anonymous = <int32_t *> grown(self.anonymous, self.anonymous_capacity, sizeof(int32_t))
            order.slot = self.anonymous_count
            self.anonymous[self.anonymous_count] = index
            self.anonymous_count += 1
        return 0

    cdef int unlink(self, int32_t index) noexcept nogil:
        """Take the order out of its queue; a level that this empties goes."""
        cdef order_t *order = &self.orders[index]
        cdef level_t *level
        if order.state == STATE_ON_CLOSE:
            if order.previous == NONE:
                self.on_close_head = order.next
            else:
                self.orders[order.previous].next = order.next
            if order.next == NONE:
                self.on_close_tail = order.previous
            else:
                self.orders[order.next].previous = order.previous
            return 0
        level = &self.levels[order.level]
        if order.previous == NONE:
            level.head = order.next
        else:
            self.orders[order.previous].next = order.next
        if order.next == NONE:
            level.tail = order.previous
        else:
            self.orders[order.next].previous = order.previous
        level.count -= 1
        level.shown -= order.shown
        level.total -= order.leaves
        if level.count == 0:
            self.close_level(order.side, order.level)
        return 0

    cdef int append_on_close(self, int32_t index) noexcept nogil:
        cdef order_t *order = &self.orders[index]
        order.state = STATE_ON_CLOSE
        order.shown = at_most(order.leaves, order.display) if order.display > 0 else order.leaves
        order.previous = self.on_close_tail
        order.next = NONE
        if self.on_close_tail == NONE:
            self.on_close_head = index
        else:
            self.orders[self.on_close_tail].next = index
        self.on_close_tail = index
        return 0

    cdef int32_t find(self, int64_t handle) noexcept nogil:
        cdef int32_t index = <int32_t> handle
        if handle <= 0 or index < 0 or index >= self.order_capacity:
            return NONE
        if self.orders[index].state == STATE_FREE or self.orders[index].generation != <int32_t> (handle >> 32):
            return NONE
        return index

    cdef int drop(self, int32_t index) except -1 nogil:
        """Take the order out of the book, with no event."""
        self.unlink(index)
        self.release(index)
        return 0

    # ------------------------------------------------------------------ what is reported

    cdef event_t *next_event(self) except NULL nogil:
        cdef event_t *event
        if self.event_count == self.event_capacity:
            self.event_capacity = 64 if self.event_capacity == 0 else self.event_capacity * 2
            self.events = <event_t *> grown(self.events, self.event_capacity, sizeof(event_t))
        event = &self.events[self.event_count]
        self.event_count += 1
        event.time = self.now
        return event

    cdef int fill(self, int32_t owner, int side, int64_t reference, int64_t price, int64_t lots, int64_t leaves,
                  int liquidity) except -1 nogil:
        cdef event_t *event
        if owner == 0:
            return 0
        self.participants_bought += lots if side == SIDE_BUY else -lots
        event = self.next_event()
        event.kind = EVENT_FILL
        event.owner = owner
        event.reference = reference
        event.price = price
        event.lots = lots
        event.leaves = leaves
        event.match = self.printed
        event.liquidity = liquidity
        event.why = WHY_NONE
        return 0

    cdef int cancelled(self, int32_t owner, int64_t reference, int64_t leaves, int why) except -1 nogil:
        cdef event_t *event
        if owner == 0:
            return 0
        event = self.next_event()
        event.kind = EVENT_CANCELLED
        event.owner = owner
        event.reference = reference
        event.price = 0
        event.lots = leaves
        event.leaves = 0
        event.match = 0
        event.liquidity = 0
        event.why = why
        return 0

    cdef int print_trade(self, int64_t price, int64_t lots, int64_t flags) except -1 nogil:
        if self.trade_count == self.trade_capacity:
            self.trade_capacity = 256 if self.trade_capacity == 0 else self.trade_capacity * 2
            self.trades = <trade_t *> grown(self.trades, self.trade_capacity, sizeof(trade_t))
        self.trades[self.trade_count] = trade_t(time=self.now, price=price, lots=lots, flags=flags)
        self.trade_count += 1
        self.printed += 1
        self.last = price
        return 0

    cdef int note_quote(self) except -1 nogil:
        """Record the best quote if it is not what was recorded last."""
        cdef quote_t quote
        quote.time = self.now
        quote.bid_price = self.best_price(SIDE_BUY)
        quote.bid_lots = self.best_lots(SIDE_BUY)
        quote.ask_price = self.best_price(SIDE_SELL)
        quote.ask_lots = self.best_lots(SIDE_SELL)
        if (quote.bid_price == self.top.bid_price and quote.bid_lots == self.top.bid_lots
                and quote.ask_price == self.top.ask_price and quote.ask_lots == self.top.ask_lots):
            return 0
        if self.quote_count == self.quote_capacity:
            self.quote_capacity = 256 if self.quote_capacity == 0 else self.quote_capacity * 2
            self.quotes = <quote_t *> grown(self.quotes, self.quote_capacity, sizeof(quote_t))
        self.quotes[self.quote_count] = quote
        self.quote_count += 1
        self.top = quote
        return 0

    # ------------------------------------------------------------------ views

    cdef int64_t best_price(self, int side) noexcept nogil:
        """Return the best limit price of a side in ticks, 0 when it has none."""
        cdef side_t *levels = &self.sides[side]
        cdef int32_t position = levels.count - 1
        if position >= 0 and self.levels[levels.levels[position]].key == INT64_MAX:
            position -= 1
        if position < 0:
            return 0
        return self.levels[levels.levels[position]].key * (1 if side == SIDE_BUY else -1)

    cdef int64_t best_lots(self, int side) noexcept nogil:
        cdef side_t *levels = &self.sides[side]
        cdef int32_t position = levels.count - 1
        if position >= 0 and self.levels[levels.levels[position]].key == INT64_MAX:
            position -= 1
        return 0 if position < 0 else self.levels[levels.levels[position]].shown

    # ------------------------------------------------------------------ taking what happened

    @property
    def now_nanos(self):
        """Market time of what happens next, UTC nanoseconds."""
        return self.now

    @now_nanos.setter
    def now_nanos(self, int64_t value):
        self.now = value

    @property
    def last_price(self):
        """Price of the last trade in ticks, 0 before the first."""
        return self.last

    @property
    def matches(self):
        """How many trades were printed since the book was made."""
        return self.printed

    def best(self):
        """Return best bid, its displayed lots, best ask, its displayed lots; 0 where there is none."""
        return (self.best_price(SIDE_BUY), self.best_lots(SIDE_BUY),
                self.best_price(SIDE_SELL), self.best_lots(SIDE_SELL))

    def depth(self, int side, int count):
        """Return the best `count` levels of a side as (price in ticks, displayed lots, orders)."""
        cdef side_t *levels
        cdef int32_t position
        cdef level_t *level
        if side != SIDE_BUY and side != SIDE_SELL:
            raise ValueError(f"side must be BUY or SELL, not {side}")
        levels = &self.sides[side]
        found = []
        for position in range(levels.count - 1, -1, -1):
            if len(found) >= count:
                break
            level = &self.levels[levels.levels[position]]
            if level.key != INT64_MAX:
                found.append((level.key if side == SIDE_BUY else -level.key, level.shown, level.count))
        return found

    def order(self, int64_t handle):
        """Return (side, price in ticks or None for any price, open lots, displayed lots), or None if it is gone."""
        cdef int32_t index = self.find(handle)
        if index == NONE:
            return None
        cdef order_t *order = &self.orders[index]
        price = None if order.key == INT64_MAX else order.key if order.side == SIDE_BUY else -order.key
        return order.side, price, order.leaves, order.shown

    def lots_ahead(self, int64_t handle):
        """Return the displayed lots that stand before the order at its own price; -1 if it stands in no queue."""
        cdef int32_t index = self.find(handle)
        cdef int64_t lots = 0
        if index == NONE or self.orders[index].state != STATE_RESTING:
            return -1
        index = self.orders[index].previous
        while index != NONE:
            lots += self.orders[index].shown
            index = self.orders[index].previous
        return lots

    def take_events(self):
        """Return what befell participants' orders since the last call, in order.

        Each is (kind, owner, reference, price ticks, lots, open lots after it, match number, liquidity, why,
        market time); a cancellation has the cancelled lots in `lots`.
        """
        cdef int64_t index
        cdef event_t *event
        taken = []
        for index in range(self.event_count):
            event = &self.events[index]
            taken.append((event.kind, event.owner, event.reference, event.price, event.lots, event.leaves,
                          event.match, event.liquidity, event.why, event.time))
        self.event_count = 0
        return taken

    def take_trades(self, int64_t tick_nanos, int64_t lot_nanos):
        """Return (count, times, prices, sizes, flags) of the prints since the last call.

        The four columns are bytes of little-endian int64: UTC nanoseconds, price nanos, size nanos, flag bits.
        """
        columns = [PyBytes_FromStringAndSize(NULL, self.trade_count * 8) for _ in range(4)]
        cdef int64_t *times = <int64_t *> PyBytes_AS_STRING(columns[0])
        cdef int64_t *prices = <int64_t *> PyBytes_AS_STRING(columns[1])
        cdef int64_t *sizes = <int64_t *> PyBytes_AS_STRING(columns[2])
        cdef int64_t *flags = <int64_t *> PyBytes_AS_STRING(columns[3])
        cdef int64_t index, count = self.trade_count
        for index in range(count):
            times[index] = self.trades[index].time
            prices[index] = self.trades[index].price * tick_nanos
            sizes[index] = self.trades[index].lots * lot_nanos
            flags[index] = self.trades[index].flags
        self.trade_count = 0
        return (count, columns[0], columns[1], columns[2], columns[3])

    def take_quotes(self, int64_t tick_nanos, int64_t lot_nanos):
        """Return (count, times, bid prices, bid sizes, ask prices, ask sizes), in columns like `take_trades`."""
        columns = [PyBytes_FromStringAndSize(NULL, self.quote_count * 8) for _ in range(5)]
        cdef int64_t *times = <int64_t *> PyBytes_AS_STRING(columns[0])
        cdef int64_t *bid_prices = <int64_t *> PyBytes_AS_STRING(columns[1])
        cdef int64_t *bid_sizes = <int64_t *> PyBytes_AS_STRING(columns[2])
        cdef int64_t *ask_prices = <int64_t *> PyBytes_AS_STRING(columns[3])
        cdef int64_t *ask_sizes = <int64_t *> PyBytes_AS_STRING(columns[4])
        cdef int64_t index, count = self.quote_count
        for index in range(count):
            times[index] = self.quotes[index].time
            bid_prices[index] = self.quotes[index].bid_price * tick_nanos
            bid_sizes[index] = self.quotes[index].bid_lots * lot_nanos
            ask_prices[index] = self.quotes[index].ask_price * tick_nanos
            ask_sizes[index] = self.quotes[index].ask_lots * lot_nanos
        self.quote_count = 0
        return (count, columns[0], columns[1], columns[2], columns[3], columns[4])

    def record_quote(self):
        """Record the best quote for `take_quotes` if it changed since it was recorded last."""
        self.note_quote()
