"""The limit order book of one instrument, in ticks and lots."""

from native.queues import Queues

BUY: int
SELL: int
CLOSED: int
CALL: int
CLOSING_CALL: int
CONTINUOUS: int
MARKET: int
LIMIT: int
MARKET_ON_CLOSE: int
LIMIT_ON_CLOSE: int
RESTING: int
IMMEDIATE: int
ALL_OR_NONE: int
CANCEL_INCOMING: int
CANCEL_RESTING: int
MAKER: int
TAKER: int
AUCTION: int
FILL: int
CANCELLED: int
ELIGIBLE_FLAG: int
AUCTION_FLAG: int
BUYER_FLAG: int
SELLER_FLAG: int
REFUSALS: dict[int, str]
CANCEL_REASONS: dict[int, str]

class Book(Queues):
    """One instrument's book: price-time priority, auctions, icebergs, self-trade prevention."""

    @property
    def mode(self) -> int: ...
    def set_mode(self, mode: int) -> None: ...
    def submit(
        self,
        side: int,
        kind: int,
        force: int,
        price: int,
        lots: int,
        display: int = 0,
        post_only: bool = False,
        owner: int = 0,
        prevention: int = ...,
        reference: int = 0,
    ) -> int: ...
    def cancel(self, handle: int) -> int: ...
    def replace(self, handle: int, price: int, lots: int, display: int = 0) -> int: ...
    def indicative(self, reference_price: int = 0) -> tuple[int, int, int]: ...
    def uncross(self, reference_price: int = 0) -> tuple[int, int]: ...
