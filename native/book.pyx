# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The limit order book of one instrument: price-time priority, auctions, icebergs, self-trade prevention.

Prices are ticks, quantities lots, times UTC nanoseconds, all int64. Owner 0 is anonymous flow, of which nothing
is reported; owners above 0 get events. The plain-Python twin is tests/native/book_twin.py.

Rules: an iceberg's next slice goes to the end of its queue; a smaller quantity at the same price keeps its
place, any other replacement loses it; in a call nothing matches until `uncross`, which trades at the price of
the largest volume, then the smallest surplus, then nearest to the reference price, then the lower one; a
market order in a call stands before every limit; what is left of it after the uncross is cancelled. An owner
never trades with itself: the incoming order is cancelled or the resting one, as the incoming order says.
"""

from libc.stdint cimport INT64_MAX, int32_t, int64_t

BUY, SELL = SIDE_BUY, SIDE_SELL
CLOSED, CALL, CLOSING_CALL, CONTINUOUS = MODE_CLOSED, MODE_CALL, MODE_CLOSING_CALL, MODE_CONTINUOUS
MARKET, LIMIT = KIND_MARKET, KIND_LIMIT
MARKET_ON_CLOSE, LIMIT_ON_CLOSE = KIND_MARKET_ON_CLOSE, KIND_LIMIT_ON_CLOSE
RESTING, IMMEDIATE, ALL_OR_NONE = FORCE_RESTING, FORCE_IMMEDIATE, FORCE_ALL_OR_NONE
CANCEL_INCOMING, CANCEL_RESTING = STP_CANCEL_INCOMING, STP_CANCEL_RESTING
MAKER, TAKER, AUCTION = LIQUIDITY_MAKER, LIQUIDITY_TAKER, LIQUIDITY_AUCTION
FILL, CANCELLED = EVENT_FILL, EVENT_CANCELLED
ELIGIBLE_FLAG, AUCTION_FLAG, BUYER_FLAG, SELLER_FLAG = FLAG_ELIGIBLE, FLAG_AUCTION, FLAG_BUYER, FLAG_SELLER

REFUSALS = {
    REFUSED_CLOSED: "MARKET_CLOSED",
    REFUSED_POST_ONLY: "POST_ONLY_WOULD_TAKE",
    REFUSED_ALL_OR_NONE: "FOK_UNFILLABLE",
    REFUSED_IMMEDIATE: "IMMEDIATE_IN_AUCTION",
    REFUSED_SELF_TRADE: "SELF_TRADE",
    REFUSED_UNKNOWN: "ORDER_NOT_FOUND",
}
CANCEL_REASONS = {
    WHY_IMMEDIATE_REST: "IOC_REMAINDER",
    WHY_MARKET_REST: "IOC_REMAINDER",
    WHY_SELF_TRADE: "SELF_TRADE",
    WHY_AUCTION_REST: "AUCTION_REMAINDER",
}


cdef inline bint crosses(int64_t key, int64_t opposite_key) noexcept nogil:
    """Say whether two orders of opposite sides can trade; a key of INT64_MAX trades at any price."""
    return key == INT64_MAX or opposite_key == INT64_MAX or key >= -opposite_key


cdef inline int64_t at_most(int64_t left, int64_t right) noexcept nogil:
    return left if left < right else right


cdef inline int64_t magnitude(int64_t value) noexcept nogil:
    return value if value >= 0 else -value


cdef void consider(uncross_t *best, int64_t price, int64_t demand, int64_t supply,
                   int64_t reference) noexcept nogil:
    """Keep `price` if it trades more, leaves less, or is nearer to the reference; prices come in ascending order."""
    cdef int64_t lots = at_most(demand, supply), surplus = demand - supply
    if lots == 0 or lots < best.lots:
        return
    if lots == best.lots:
        if magnitude(surplus) > magnitude(best.surplus):
            return
        if (magnitude(surplus) == magnitude(best.surplus)
                and magnitude(price - reference) >= magnitude(best.price - reference)):
            return
    best.price = price
    best.lots = lots
    best.surplus = surplus


cdef class Book(Queues):
    """One instrument's book. `mode` is one of CLOSED, CALL, CLOSING_CALL and CONTINUOUS."""

    # ------------------------------------------------------------------ matching

    cdef int64_t match(self, int side, int64_t limit_key, int64_t lots, int32_t owner, int prevention,
                       int64_t reference) except? -1 nogil:
        """Trade `lots` against the other side down to the limit; return what is left."""
        cdef int other = 1 - side
        cdef side_t *levels = &self.sides[other]
        cdef int32_t index
        cdef level_t *level
        cdef order_t *order
        cdef int64_t price, quantity
        self.stopped = False
        while lots > 0 and levels.count > 0:
            level = &self.levels[levels.levels[levels.count - 1]]
            if not crosses(limit_key, level.key):
                break
            price = level.key if other == SIDE_BUY else -level.key
            index = level.head
            order = &self.orders[index]
            if owner != 0 and order.owner == owner:
                if prevention != STP_CANCEL_RESTING:
                    self.stopped = True
                    return lots
                self.cancelled(owner, order.reference, order.leaves, WHY_SELF_TRADE)
                self.drop(index)
                continue
            quantity = at_most(lots, order.shown)
            lots -= quantity
            order.leaves -= quantity
            order.shown -= quantity
            level.shown -= quantity
            level.total -= quantity
            self.print_trade(price, quantity,
                             FLAG_ELIGIBLE | (FLAG_BUYER if side == SIDE_BUY else FLAG_SELLER))
            self.fill(order.owner, other, order.reference, price, quantity, order.leaves, LIQUIDITY_MAKER)
            self.fill(owner, side, reference, price, quantity, lots, LIQUIDITY_TAKER)
            if order.leaves == 0:
                self.drop(index)
            elif order.shown == 0:
                self.unlink(index)
                self.rest(index)
        return lots

    cdef int64_t reachable(self, int side, int64_t limit_key, int64_t wanted, int32_t owner,
                           int prevention) noexcept nogil:
        """Return how many lots `match` would trade, looking no further than `wanted`."""
        cdef side_t *levels = &self.sides[1 - side]
        cdef int32_t position = levels.count - 1, index
        cdef int64_t found = 0, shown, hidden
        cdef bint own
        while position >= 0 and found < wanted:
            if not crosses(limit_key, self.levels[levels.levels[position]].key):
                break
            if owner == 0:
                found += self.levels[levels.levels[position]].total
                position -= 1
                continue
            index = self.levels[levels.levels[position]].head
            shown = hidden = 0
            own = False
            while index != NONE:
                if self.orders[index].owner == owner:
                    if prevention != STP_CANCEL_RESTING:
                        own = True
                        break
                else:
                    shown += self.orders[index].shown
                    hidden += self.orders[index].leaves - self.orders[index].shown
                index = self.orders[index].next
            if own:
                return found + shown
            found += shown + hidden
            position -= 1
        return found

    cdef int crosses_own(self, int side, int64_t key, int32_t owner, int prevention) except? -1 nogil:
        """In a call: cancel own orders that `key` could trade with, or return 1 if they must stay."""
        cdef side_t *levels = &self.sides[1 - side]
        cdef int32_t position = levels.count - 1, index, following, number
        if owner == 0:
            return 0
        while position >= 0:
            number = levels.levels[position]
            if not crosses(key, self.levels[number].key):
                break
            index = self.levels[number].head
            while index != NONE:
                following = self.orders[index].next
                if self.orders[index].owner == owner:
                    if prevention != STP_CANCEL_RESTING:
                        return 1
                    self.cancelled(owner, self.orders[index].reference, self.orders[index].leaves, WHY_SELF_TRADE)
                    self.drop(index)
                index = following
            position -= 1
        return 0

    cdef int settle(self, int side, int64_t key, int64_t lots, int32_t index, int kind, int force) except -1 nogil:
        """Match what has just come in (the order stands in the pool, in no queue), then rest or cancel the rest."""
        cdef order_t *order = &self.orders[index]
        cdef int32_t owner = order.owner
        cdef int64_t reference = order.reference
        cdef int64_t left = self.match(side, key, lots, owner, order.prevention, reference)
        if left > 0 and not self.stopped and kind == KIND_LIMIT and force == FORCE_RESTING:
            self.orders[index].leaves = left
            self.rest(index)
            return 1
        if left > 0:
            self.cancelled(owner, reference, left, WHY_SELF_TRADE if self.stopped
                           else WHY_MARKET_REST if kind == KIND_MARKET else WHY_IMMEDIATE_REST)
        self.release(index)
        return 0

    # ------------------------------------------------------------------ orders

    cdef int64_t enter(self, int side, int kind, int force, int64_t price, int64_t lots, int64_t display,
                       bint post_only, int32_t owner, int prevention, int64_t reference) except? -1 nogil:
        """Take an order. Return its handle if it rests, 0 if nothing of it does, or a refusal below -1."""
        cdef int64_t key = INT64_MAX, handle
        cdef bint on_close = kind == KIND_MARKET_ON_CLOSE or kind == KIND_LIMIT_ON_CLOSE
        cdef bint in_call = self.state == MODE_CALL or self.state == MODE_CLOSING_CALL
        cdef side_t *others = &self.sides[1 - side]
        cdef int32_t index
        cdef order_t *order
        if self.state == MODE_CLOSED:
            return REFUSED_CLOSED
        if price > 0 and not (in_call and kind == KIND_MARKET) and kind != KIND_MARKET_ON_CLOSE:
            key = price if side == SIDE_BUY else -price
        if in_call and not (on_close and self.state == MODE_CALL):
            if force != FORCE_RESTING:
                return REFUSED_IMMEDIATE
            if self.crosses_own(side, key, owner, prevention):
                return REFUSED_SELF_TRADE
        elif not on_close:
            if post_only and others.count > 0 and crosses(key, self.levels[others.levels[others.count - 1]].key):
                return REFUSED_POST_ONLY
            if force == FORCE_ALL_OR_NONE and self.reachable(side, key, lots, owner, prevention) < lots:
                return REFUSED_ALL_OR_NONE
        index = self.allocate()
        order = &self.orders[index]
        order.key = key
        order.leaves = order.shown = lots
        order.display = display
        order.reference = reference
        order.owner = owner
        order.side = side
        order.kind = kind
        order.prevention = prevention
        order.post_only = post_only
        handle = ((<int64_t> order.generation) << 32) | index
        if on_close and self.state != MODE_CLOSING_CALL:
            self.append_on_close(index)
        elif in_call:
            self.rest(index)
        elif not self.settle(side, key, lots, index, kind, force):
            return 0
        return handle

    cdef int64_t amend(self, int32_t index, int64_t price, int64_t lots) except? -1 nogil:
        """Change price and open lots. Return 1 if it still rests, 0 if not, or a refusal (nothing changed)."""
        cdef order_t *order = &self.orders[index]
        cdef int side = order.side
        cdef side_t *others = &self.sides[1 - side]
        cdef level_t *level
        cdef int64_t key = order.key, shown
        if order.kind == KIND_LIMIT or order.kind == KIND_LIMIT_ON_CLOSE:
            key = price if side == SIDE_BUY else -price
        if key == order.key and lots <= order.leaves:
            shown = at_most(order.shown, lots)
            if order.state == STATE_RESTING:
                level = &self.levels[order.level]
                level.shown -= order.shown - shown
                level.total -= order.leaves - lots
            order.shown = shown
            order.leaves = lots
            return 1
        if order.state == STATE_ON_CLOSE:
            self.unlink(index)
            order.key = key
            order.leaves = lots
            self.append_on_close(index)
            return 1
        if self.state == MODE_CONTINUOUS:
            if (order.post_only and others.count > 0
                    and crosses(key, self.levels[others.levels[others.count - 1]].key)):
                return REFUSED_POST_ONLY
        elif self.crosses_own(side, key, order.owner, order.prevention):
            return REFUSED_SELF_TRADE
        self.unlink(index)
        order.key = key
        order.leaves = order.shown = lots
        if self.state == MODE_CONTINUOUS:
            return self.settle(side, key, lots, index, order.kind, FORCE_RESTING)
        self.rest(index)
        return 1

    # ------------------------------------------------------------------ auctions

    cdef uncross_t equilibrium(self, int64_t reference_price) noexcept nogil:
        """Return the price at which a call would trade now, its volume, and the surplus (buyers' positive)."""
        cdef uncross_t best = uncross_t(price=0, lots=0, surplus=0)
        cdef side_t *bids = &self.sides[SIDE_BUY]
        cdef side_t *asks = &self.sides[SIDE_SELL]
        cdef int32_t bid = 0, bid_end = bids.count, ask = asks.count - 1, position
        cdef int64_t demand = 0, supply = 0, price, previous = 0
        cdef bint any_limit = False
        for position in range(bids.count):
            demand += self.levels[bids.levels[position]].total
        if bid_end > 0 and self.levels[bids.levels[bid_end - 1]].key == INT64_MAX:
            bid_end -= 1
        if ask >= 0 and self.levels[asks.levels[ask]].key == INT64_MAX:
            supply = self.levels[asks.levels[ask]].total
            ask -= 1
        while bid < bid_end or ask >= 0:
            price = INT64_MAX
            if bid < bid_end:
                price = self.levels[bids.levels[bid]].key
            if ask >= 0:
                price = at_most(price, -self.levels[asks.levels[ask]].key)
            if any_limit and price - previous > 1:
                consider(&best, min(max(reference_price, previous + 1), price - 1), demand, supply, reference_price)
            any_limit = True
            if ask >= 0 and -self.levels[asks.levels[ask]].key == price:
                supply += self.levels[asks.levels[ask]].total
                ask -= 1
            consider(&best, price, demand, supply, reference_price)
            if bid < bid_end and self.levels[bids.levels[bid]].key == price:
                demand -= self.levels[bids.levels[bid]].total
                bid += 1
            previous = price
        if not any_limit and reference_price > 0:
            consider(&best, reference_price, demand, supply, reference_price)
        return best

    cdef int64_t uncross_at(self, int64_t price, int64_t lots) except? -1 nogil:
        """Trade `lots` at `price`, best orders first; then cancel what may not stay in a continuous book."""
        cdef int64_t left = lots, quantity, shown
        cdef int side
        cdef int32_t index, position, following
        cdef int32_t heads[2]
        cdef order_t *order
        cdef side_t *levels
        if lots > 0:
            self.print_trade(price, lots, FLAG_ELIGIBLE | FLAG_AUCTION)
        while left > 0:
            quantity = left
            for side in range(2):
                levels = &self.sides[side]
                heads[side] = self.levels[levels.levels[levels.count - 1]].head
                quantity = at_most(quantity, self.orders[heads[side]].leaves)
            left -= quantity
            for side in range(2):
                index = heads[side]
                order = &self.orders[index]
                shown = at_most(order.shown, order.leaves - quantity)
                if shown == 0 and order.leaves > quantity:
                    shown = at_most(order.display, order.leaves - quantity)
                self.levels[order.level].shown -= order.shown - shown
                self.levels[order.level].total -= quantity
                order.shown = shown
                order.leaves -= quantity
                self.fill(order.owner, side, order.reference, price, quantity, order.leaves, LIQUIDITY_AUCTION)
                if order.leaves == 0:
                    self.drop(index)
        for side in range(2):
            position = self.sides[side].count - 1
            while position >= 0:
                index = self.levels[self.sides[side].levels[position]].head
                while index != NONE:
                    order = &self.orders[index]
                    following = order.next
                    if order.kind != KIND_LIMIT:
                        self.cancelled(order.owner, order.reference, order.leaves, WHY_AUCTION_REST)
                        self.drop(index)
                    index = following
                position -= 1
        return lots

    cdef int open_closing_call(self) except -1 nogil:
        """Begin the closing call: on-close orders join the book in the order in which they came."""
        cdef int32_t index = self.on_close_head, following
        cdef order_t *order
        self.state = MODE_CLOSING_CALL
        self.on_close_head = self.on_close_tail = NONE
        while index != NONE:
            order = &self.orders[index]
            following = order.next
            if self.crosses_own(order.side, order.key, order.owner, order.prevention):
                self.cancelled(order.owner, order.reference, order.leaves, WHY_SELF_TRADE)
                self.release(index)
            else:
                self.rest(index)
            index = following
        return 0

    # ------------------------------------------------------------------ for Python

    @property
    def mode(self):
        """How orders are taken now."""
        return self.state

    def set_mode(self, int mode):
        """Take orders in another way from now on; CLOSING_CALL brings the on-close orders in."""
        if mode < MODE_CLOSED or mode > MODE_CONTINUOUS:
            raise ValueError(f"no such mode: {mode}")
        if mode == MODE_CLOSING_CALL:
            self.open_closing_call()
        self.state = mode

    def submit(self, int side, int kind, int force, int64_t price, int64_t lots, int64_t display=0,
               bint post_only=False, int32_t owner=0, int prevention=STP_CANCEL_INCOMING, int64_t reference=0):
        """Enter an order: `price` in ticks (for MARKET the worst acceptable, 0 for any), `lots`, `display` in lots.

        Return a handle above 0 if it rests, 0 if nothing of it does (events tell the rest), or a key of REFUSALS.
        Raises ValueError for values that no order can have.
        """
        if side != SIDE_BUY and side != SIDE_SELL:
            raise ValueError(f"side must be BUY or SELL, not {side}")
        if kind < KIND_MARKET or kind > KIND_LIMIT_ON_CLOSE or force < FORCE_RESTING or force > FORCE_ALL_OR_NONE:
            raise ValueError(f"no such order kind or force: {kind}, {force}")
        if lots <= 0 or display < 0 or owner < 0 or price < 0:
            raise ValueError("lots must be above 0, display, owner and price not below")
        if price == 0 and (kind == KIND_LIMIT or kind == KIND_LIMIT_ON_CLOSE):
            raise ValueError("a limit order needs a price")
        return self.enter(side, kind, force, price, lots, display, post_only, owner, prevention, reference)

    def cancel(self, int64_t handle):
        """Take an order out. Return the lots that were open, or a key of REFUSALS. There is no event."""
        cdef int32_t index = self.find(handle)
        cdef int64_t lots
        if index == NONE:
            return REFUSED_UNKNOWN
        lots = self.orders[index].leaves
        self.drop(index)
        return lots

    def replace(self, int64_t handle, int64_t price, int64_t lots, int64_t display=0):
        """Give an order another price and other open lots; `display` lots above 0 change what it shows next.

        Return 1 if it still rests under its handle, 0 if it is gone (events tell why), or a key of REFUSALS:
        then nothing changed. The price of an order without a limit is ignored.
        """
        cdef int32_t index = self.find(handle)
        cdef int64_t kept, result
        if index == NONE:
            return REFUSED_UNKNOWN
        if lots <= 0 or price <= 0:
            raise ValueError("lots and price must be above 0")
        kept = self.orders[index].display
        if display > 0:
            self.orders[index].display = display
        result = self.amend(index, price, lots)
        if result < 0:
            self.orders[index].display = kept
        return result

    def indicative(self, int64_t reference_price=0):
        """Return (price, lots, surplus) of an uncross now; zeros if nothing would trade."""
        cdef uncross_t found = self.equilibrium(reference_price)
        return found.price, found.lots, found.surplus

    def uncross(self, int64_t reference_price=0):
        """Trade the call at one price; return (price, lots). Market and on-close orders left over are cancelled."""
        cdef uncross_t found = self.equilibrium(reference_price)
        if self.state != MODE_CALL and self.state != MODE_CLOSING_CALL:
            raise ValueError("only a call can be uncrossed")
        self.uncross_at(found.price, found.lots)
        return found.price, found.lots
