"""The limit order book in plain Python: the specification of `native.book`, and its oracle."""

from __future__ import annotations

from dataclasses import dataclass, field

from native import book as b


@dataclass(eq=False)
class Resting:
    """One order of the twin; `price` None trades at any price."""

    handle: int
    side: int
    kind: int
    price: int | None
    leaves: int
    display: int
    post_only: bool
    owner: int
    prevention: int
    reference: int
    shown: int = 0

    def show(self) -> None:
        self.shown = min(self.leaves, self.display) if self.display else self.leaves


Event = tuple[int, int, int, int, int, int, int, int]


@dataclass
class BookTwin:
    """The same rules as `native.book.Book`, written to be read. Queues are lists in order of priority."""

    mode: int = b.CLOSED
    queues: tuple[list[Resting], list[Resting]] = field(default_factory=lambda: ([], []))
    on_close: list[Resting] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    trades: list[tuple[int, int, int]] = field(default_factory=list)
    handles: int = 0

    # -- reports
    def _fill(self, order: Resting, price: int, lots: int, leaves: int, liquidity: int) -> None:
        if order.owner:
            self.events.append(
                (b.FILL, order.owner, order.reference, price, lots, leaves, len(self.trades), liquidity)
            )

    def _cancelled(self, order: Resting, lots: int) -> None:
        if order.owner:
            self.events.append((b.CANCELLED, order.owner, order.reference, 0, lots, 0, 0, 0))

    # -- queues
    @staticmethod
    def crosses(side: int, price: int | None, other: int | None) -> bool:
        if price is None or other is None:
            return True
        return price >= other if side == b.BUY else price <= other

    def _rest(self, order: Resting) -> None:
        order.show()
        queue = self.queues[order.side]

        def better(left: int | None, right: int | None) -> bool:
            if left == right or right is None:
                return False
            return left is None or (left > right if order.side == b.BUY else left < right)

        position = len(queue)
        while position and better(order.price, queue[position - 1].price):
            position -= 1
        queue.insert(position, order)

    def _find(self, handle: int) -> Resting | None:
        everything = [*self.queues[0], *self.queues[1], *self.on_close]
        return next((order for order in everything if order.handle == handle), None)

    def _remove(self, order: Resting) -> None:
        (self.on_close if order in self.on_close else self.queues[order.side]).remove(order)

    # -- matching
    def _match(self, taker: Resting) -> bool:
        """Trade; return whether self-trade prevention stopped the taker."""
        opposite = self.queues[1 - taker.side]
        while taker.leaves and opposite and self.crosses(taker.side, taker.price, opposite[0].price):
            maker = opposite[0]
            if taker.owner and maker.owner == taker.owner:
                if taker.prevention == b.CANCEL_INCOMING:
                    return True
                self._cancelled(maker, maker.leaves)
                opposite.remove(maker)
                continue
            lots = min(taker.leaves, maker.shown)
            taker.leaves -= lots
            maker.leaves -= lots
            maker.shown -= lots
            assert maker.price is not None
            flag = b.BUYER_FLAG if taker.side == b.BUY else b.SELLER_FLAG
            self.trades.append((maker.price, lots, b.ELIGIBLE_FLAG | flag))
            self._fill(maker, maker.price, lots, maker.leaves, b.MAKER)
            self._fill(taker, maker.price, lots, taker.leaves, b.TAKER)
            if not maker.leaves:
                opposite.remove(maker)
            elif not maker.shown:
                opposite.remove(maker)
                self._rest(maker)
        return False

    def _reachable(self, order: Resting) -> int:
        """Return what the order would trade, by trading it on a copy."""
        copy = BookTwin(mode=self.mode)
        for side in (0, 1):
            copy.queues[side].extend(Resting(**vars(resting)) for resting in self.queues[side])
        trial = Resting(**vars(order))
        copy._match(trial)
        return order.leaves - trial.leaves

    def _meets_itself(self, order: Resting) -> bool:
        if not order.owner:
            return False
        for own in list(self.queues[1 - order.side]):
            if own.owner == order.owner and self.crosses(order.side, order.price, own.price):
                if order.prevention == b.CANCEL_INCOMING:
                    return True
                self._cancelled(own, own.leaves)
                self.queues[own.side].remove(own)
        return False

    def _settle(self, order: Resting, force: int) -> bool:
        stopped = self._match(order)
        if order.leaves and not stopped and order.kind == b.LIMIT and force == b.RESTING:
            self._rest(order)
            return True
        if order.leaves:
            self._cancelled(order, order.leaves)
        return False

    # -- orders
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
        prevention: int = 0,
        reference: int = 0,
    ) -> int:
        """Enter an order; return 1 or more (rests), 0 (gone) or the refusal's name as a negative code."""
        if self.mode == b.CLOSED:
            return -2
        on_close = kind in (b.MARKET_ON_CLOSE, b.LIMIT_ON_CLOSE)
        in_call = self.mode in (b.CALL, b.CLOSING_CALL)
        any_price = kind == b.MARKET_ON_CLOSE or (kind == b.MARKET and (in_call or not price))
        self.handles += 1
        order = Resting(
            self.handles,
            side,
            kind,
            None if any_price else price,
            lots,
            display,
            post_only,
            owner,
            prevention,
            reference,
        )
        if on_close and self.mode != b.CLOSING_CALL:
            order.show()
            self.on_close.append(order)
            return order.handle
        if in_call:
            if force != b.RESTING:
                return -5
            if self._meets_itself(order):
                return -6
            self._rest(order)
            return order.handle
        best = self.queues[1 - side][:1]
        if post_only and best and self.crosses(side, order.price, best[0].price):
            return -3
        if force == b.ALL_OR_NONE and self._reachable(order) < lots:
            return -4
        return order.handle if self._settle(order, force) else 0

    def cancel(self, handle: int) -> int:
        order = self._find(handle)
        if order is None:
            return -7
        self._remove(order)
        return order.leaves

    def replace(self, handle: int, price: int, lots: int) -> int:
        order = self._find(handle)
        if order is None:
            return -7
        new_price = price if order.kind in (b.LIMIT, b.LIMIT_ON_CLOSE) else order.price
        if new_price == order.price and lots <= order.leaves:
            order.leaves = lots
            order.shown = min(order.shown, lots)
            return 1
        if order in self.on_close:
            self.on_close.remove(order)
            order.price, order.leaves = new_price, lots
            order.show()
            self.on_close.append(order)
            return 1
        changed = Resting(**{**vars(order), "price": new_price, "leaves": lots})
        best = self.queues[1 - order.side][:1]
        if self.mode == b.CONTINUOUS:
            if order.post_only and best and self.crosses(order.side, new_price, best[0].price):
                return -3
        elif self._meets_itself(changed):
            return -6
        self._remove(order)
        if self.mode == b.CONTINUOUS:
            return int(self._settle(changed, b.RESTING))
        self._rest(changed)
        return 1

    # -- auctions
    def set_mode(self, mode: int) -> None:
        if mode == b.CLOSING_CALL:
            waiting, self.on_close = self.on_close, []
            for order in waiting:
                if self._meets_itself(order):
                    self._cancelled(order, order.leaves)
                else:
                    self._rest(order)
        self.mode = mode

    def indicative(self, reference: int) -> tuple[int, int, int]:
        """Try every price from the lowest limit to the highest."""
        prices = [order.price for queue in self.queues for order in queue if order.price is not None]
        candidates = range(min(prices), max(prices) + 1) if prices else ([reference] if reference > 0 else [])
        best: tuple[tuple[int, int, int, int], int, int] | None = None
        for price in candidates:
            demand = sum(o.leaves for o in self.queues[0] if o.price is None or o.price >= price)
            supply = sum(o.leaves for o in self.queues[1] if o.price is None or o.price <= price)
            volume = min(demand, supply)
            rank = (-volume, abs(demand - supply), abs(price - reference), price)
            if volume and (best is None or rank < best[0]):
                best = (rank, volume, demand - supply)
        return (0, 0, 0) if best is None else (best[0][3], best[1], best[2])

    def uncross(self, reference: int) -> tuple[int, int]:
        price, volume, _ = self.indicative(reference)
        if volume:
            self.trades.append((price, volume, b.ELIGIBLE_FLAG | b.AUCTION_FLAG))
        left = volume
        while left:
            pair = [self.queues[0][0], self.queues[1][0]]
            lots = min(left, pair[0].leaves, pair[1].leaves)
            left -= lots
            for order in pair:
                order.leaves -= lots
                order.shown = min(order.shown, order.leaves)
                if not order.shown:
                    order.show()
                self._fill(order, price, lots, order.leaves, b.AUCTION)
                if not order.leaves:
                    self.queues[order.side].remove(order)
        for side in (0, 1):
            for order in list(self.queues[side]):
                if order.kind != b.LIMIT:
                    self._cancelled(order, order.leaves)
                    self.queues[side].remove(order)
        return price, volume

    # -- views
    def depth(self, side: int) -> list[tuple[int, int, int]]:
        levels: dict[int, list[Resting]] = {}
        for order in self.queues[side]:
            if order.price is not None:
                levels.setdefault(order.price, []).append(order)
        return [(price, sum(o.shown for o in level), len(level)) for price, level in levels.items()]

    def lots_ahead(self, handle: int) -> int:
        for queue in self.queues:
            ahead = 0
            for order in queue:
                if order.handle == handle:
                    return sum(o.shown for o in queue[: queue.index(order)] if o.price == order.price)
                ahead += order.shown
        return -1
