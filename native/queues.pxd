"""The queues of a limit order book. See queues.pyx."""

from libc.stdint cimport int8_t, int32_t, int64_t

cdef enum:
    NONE = -1

cdef enum:
    SIDE_BUY = 0
    SIDE_SELL = 1

cdef enum:
    MODE_CLOSED = 0
    MODE_CALL = 1
    MODE_CLOSING_CALL = 2
    MODE_CONTINUOUS = 3

cdef enum:
    KIND_MARKET = 1
    KIND_LIMIT = 2
    KIND_MARKET_ON_CLOSE = 3
    KIND_LIMIT_ON_CLOSE = 4

cdef enum:
    FORCE_RESTING = 1
    FORCE_IMMEDIATE = 2
    FORCE_ALL_OR_NONE = 3

cdef enum:
    STP_CANCEL_INCOMING = 0
    STP_CANCEL_RESTING = 1

cdef enum:
    REFUSED_CLOSED = -2
    REFUSED_POST_ONLY = -3
    REFUSED_ALL_OR_NONE = -4
    REFUSED_IMMEDIATE = -5
    REFUSED_SELF_TRADE = -6
    REFUSED_UNKNOWN = -7

cdef enum:
    EVENT_FILL = 1
    EVENT_CANCELLED = 2

cdef enum:
    LIQUIDITY_MAKER = 1
    LIQUIDITY_TAKER = 2
    LIQUIDITY_AUCTION = 3

cdef enum:
    WHY_NONE = 0
    WHY_IMMEDIATE_REST = 1
    WHY_MARKET_REST = 2
    WHY_SELF_TRADE = 3
    WHY_AUCTION_REST = 4

cdef enum:
    FLAG_ELIGIBLE = 1
    FLAG_AUCTION = 4
    FLAG_BUYER = 8
    FLAG_SELLER = 16

cdef enum:
    STATE_FREE = 0
    STATE_RESTING = 1
    STATE_ON_CLOSE = 2

cdef struct order_t:
    int64_t key
    int64_t leaves
    int64_t shown
    int64_t display
    int64_t reference
    int32_t owner
    int32_t previous
    int32_t next
    int32_t level
    int32_t generation
    int32_t slot
    int8_t side
    int8_t kind
    int8_t prevention
    int8_t post_only
    int8_t state

cdef struct level_t:
    int64_t key
    int64_t shown
    int64_t total
    int32_t head
    int32_t tail
    int32_t count

cdef struct side_t:
    int32_t *levels
    int32_t count
    int32_t capacity

cdef struct event_t:
    int64_t reference
    int64_t price
    int64_t lots
    int64_t leaves
    int64_t match
    int64_t time
    int32_t owner
    int8_t kind
    int8_t liquidity
    int8_t why

cdef struct trade_t:
    int64_t time
    int64_t price
    int64_t lots
    int64_t flags

cdef struct quote_t:
    int64_t time
    int64_t bid_price
    int64_t bid_lots
    int64_t ask_price
    int64_t ask_lots

cdef struct uncross_t:
    int64_t price
    int64_t lots
    int64_t surplus


cdef class Queues:
    # ------------------------------------------------------------------ state
    cdef order_t *orders
    cdef int32_t order_capacity
    cdef int32_t free_order
    cdef level_t *levels
    cdef int32_t level_capacity
    cdef int32_t free_level
    cdef side_t sides[2]
    cdef int32_t on_close_head
    cdef int32_t on_close_tail
    cdef int32_t *anonymous
    cdef int32_t anonymous_count
    cdef int32_t anonymous_capacity
    cdef int state
    cdef int64_t now
    cdef int64_t printed
    cdef int64_t last
    cdef bint stopped
    # ------------------------------------------------------------------ what happened since it was last taken
    cdef event_t *events
    cdef int64_t event_count
    cdef int64_t event_capacity
    cdef trade_t *trades
    cdef int64_t trade_count
    cdef int64_t trade_capacity
    cdef quote_t *quotes
    cdef int64_t quote_count
    cdef int64_t quote_capacity
    cdef quote_t top
    # ------------------------------------------------------------------ net lots that participants bought, for the flow
    cdef int64_t participants_bought
    # ------------------------------------------------------------------ orders
    cdef int drop(self, int32_t index) except -1 nogil
    cdef int32_t find(self, int64_t handle) noexcept nogil
    cdef int64_t best_price(self, int side) noexcept nogil
    cdef int64_t best_lots(self, int side) noexcept nogil
    cdef int note_quote(self) except -1 nogil
    cdef int rest(self, int32_t index) except -1 nogil
    cdef int unlink(self, int32_t index) noexcept nogil
    cdef int32_t allocate(self) except -1 nogil
    cdef int release(self, int32_t index) noexcept nogil
    cdef int32_t level_for(self, int side, int64_t key) except -1 nogil
    cdef int close_level(self, int side, int32_t level) noexcept nogil
    cdef int append_on_close(self, int32_t index) noexcept nogil
    cdef int fill(self, int32_t owner, int side, int64_t reference, int64_t price, int64_t lots, int64_t leaves,
                  int liquidity) except -1 nogil
    cdef int cancelled(self, int32_t owner, int64_t reference, int64_t leaves, int why) except -1 nogil
    cdef int print_trade(self, int64_t price, int64_t lots, int64_t flags) except -1 nogil
    cdef event_t *next_event(self) except NULL nogil
