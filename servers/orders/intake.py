"""New orders on their way to the journal: risk is asked once for all that came while it was answering."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from servers.model.errors import TapelineError
from servers.model.order import Rejection
from servers.orders.decisions import reused
from servers.orders.domain import NewOrder, OrderKey, OrderRecord
from servers.orders.ports import OrderCheck, Risk
from servers.orders.sequencer import Sequencer, Turn

GROUP_ORDERS = 1_024
"""Orders that one question to risk may have."""

DecideBasket = Callable[[Sequence[NewOrder], dict[OrderKey, Rejection | None], Turn], Sequence[OrderRecord]]


class _Basket(NamedTuple):
    orders: Sequence[NewOrder]
    new: Sequence[NewOrder]
    answer: asyncio.Future[Sequence[OrderRecord]]


class Intake:
    """Collects baskets, asks risk, and passes them on to the sequencer.

    Args:
        decide: what a basket does in its turn, given risk's verdicts.
    """

    def __init__(self, risk: Risk, sequencer: Sequencer, decide: DecideBasket) -> None:
        self._risk = risk
        self._sequencer = sequencer
        self._decide = decide
        self._waiting: list[_Basket] = []
        self._arrived = asyncio.Event()

    async def submit(self, orders: Sequence[NewOrder], new: Sequence[NewOrder]) -> Sequence[OrderRecord]:
        """Return the orders as they stand after their commit. `new` are those that risk is asked about."""
        answer: asyncio.Future[Sequence[OrderRecord]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Basket(orders, new, answer))
        self._arrived.set()
        return await answer

    async def run(self) -> None:
        """Pass baskets on for ever. What this raises must end the process."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while group := self._take_group():
                await self._check(group)

    def _take_group(self) -> list[_Basket]:
        group: list[_Basket] = []
        count = taken = 0
        for basket in self._waiting:
            if group and count + len(basket.new) > GROUP_ORDERS:
                break
            taken += 1
            if not basket.answer.done():  # its caller went away before anything was asked
                group.append(basket)
                count += len(basket.new)
        del self._waiting[:taken]
        return group

    async def _check(self, group: Sequence[_Basket]) -> None:
        new: dict[OrderKey, NewOrder] = {}
        group = [basket for basket in group if _collect(basket, new)]
        checks = [
            OrderCheck(order.account, order.client_order_id, order.terms, order.execution_id)
            for order in new.values()
        ]
        try:
            verdicts = dict(zip(new, await self._risk.check(checks), strict=True))
        except TapelineError as refusal:
            for basket in group:
                if not basket.answer.done():
                    basket.answer.set_exception(refusal)
            return
        for basket in group:
            self._sequencer.put(partial(self._decide, basket.orders, verdicts), basket.answer)


def _collect(basket: _Basket, new: dict[OrderKey, NewOrder]) -> bool:
    """Add a basket's orders to those that risk is asked about, or refuse it: an id has one content."""
    for order in basket.new:
        first = new.get(order.key, order)
        if (first.terms, first.execution_id) != (order.terms, order.execution_id):
            basket.answer.set_exception(reused(order.client_order_id))
            return False
    new.update((order.key, order) for order in basket.new)
    return True
