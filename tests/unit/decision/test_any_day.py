"""Whatever happens in whatever order: lost answers, restarts, partial fills, people, new signals."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from servers.decision.domain.decision import Mode, State
from servers.decision.domain.signal import Restriction
from servers.decision.domain.sizing import Caps, Policy
from servers.model.errors import DeadlineExceeded, FailedPrecondition, TapelineError, Unavailable
from servers.model.nanos import ATTO, NANO
from tests.unit.decision.decision_desk import CENT, Desk
from tests.unit.decision.figures import MINUTE, POLICY, signal

SYMBOLS = ("ACME", "BOLT")
TIGHT: Policy = replace(
    POLICY, is_short_permitted=True, caps=Caps(name_notional=200_000.0, gross_notional=300_000.0)
)
FAILURES: tuple[Callable[[], TapelineError], ...] = (
    lambda: Unavailable("PEER_UNAVAILABLE"),
    lambda: DeadlineExceeded("DEADLINE_TOO_SHORT"),
    lambda: FailedPrecondition("KILL_SWITCH_ON"),
)

WEIGHTS = {
    "signal": 30, "later": 25, "fill": 20, "end": 4, "fail": 8, "again": 8, "restart": 4, "approve": 6,
    "kill": 1, "unkill": 4,
}  # fmt: skip
STEPS = 200


async def take(desk: Desk, chance: random.Random) -> None:
    """Let one thing happen."""
    symbol = chance.choice(SYMBOLS)
    match chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]:
        case "signal":
            doubt = {chance.choice(list(Restriction))} if chance.random() < 0.2 else set()
            bps = chance.choice((-1, 1)) * chance.uniform(10.0, 120.0)
            now = desk.engine.now_nanos
            await desk.engine.on_signal(
                signal(bps, symbol=symbol, event_time_nanos=now, restrictions=frozenset(doubt))
            )
        case "later":
            ahead = round(chance.uniform(0.1, 6.0) * MINUTE)
            for each in SYMBOLS:
                mid = round(desk.market.mid_nanos(each) * chance.uniform(0.99, 1.01) / CENT) * CENT
                desk.quote(mid, desk.market.now_nanos + ahead // len(SYMBOLS), each)
            await desk.engine.on_time()
        case "fill":
            for one in desk.book.of(symbol, State.STARTED, State.APPROVED):
                execution_id = one.execution_id or desk.account.requests.get(one.decision_id, "")
                parent = desk.account.parents.get(execution_id)
                if parent is not None and not parent.is_over:
                    left = abs(parent.quantity_nanos - parent.filled_nanos) // NANO
                    shares = max(int(left * chance.choice((0.3, 1.0))), 1)
                    mid = desk.market.mid_nanos(symbol)
                    fact = desk.account.fill(execution_id, shares * NANO, mid, desk.market.now_nanos)
                    await desk.facts(fact)
        case "end":
            for one in desk.book.of(symbol, State.STARTED):
                await desk.facts(desk.account.end(one.execution_id, desk.market.now_nanos))
        case "fail":
            desk.account.failures.append(chance.choice(FAILURES)())
        case "again":
            await desk.engine.send_again()
        case "restart":
            quotes = dict(desk.market.quotes)
            if not desk.book.is_sending:  # what is held back comes again from execution, which keeps it
                await desk.restart()
            for quote in quotes.values():
                desk.market.take(quote)
        case "approve":
            answer = desk.engine.approve if chance.random() < 0.7 else desk.engine.reject
            for one in [one for one in desk.book.open.values() if one.state is State.PENDING_APPROVAL]:
                with contextlib.suppress(FailedPrecondition):  # too late, or the kill switch is on
                    await answer(f"r{one.decision_id}", one.decision_id, "anna")
        case "kill":
            desk.engine.on_kill_switch(is_on=True)
        case "unkill":
            desk.engine.on_kill_switch(is_on=False)


def check(desk: Desk) -> None:
    account, book = desk.account, desk.book
    started = [one for one in desk.orders if one.execution_id and one.state is not State.REFUSED]
    assert len({one.execution_id for one in started}) == len(started), "one parent order a decision"
    assert set(account.requests) <= set(book.decisions), "nothing is sent that is not recorded"
    for symbol in SYMBOLS:
        running = [one for one in account.parents.values() if one.symbol == symbol and not one.is_over]
        assert len(running) <= 1, "never two parent orders in a symbol"
        if not book.is_sending:
            traded = sum(
                one.side.sign * one.filled_quantity_nanos
                for one in desk.orders
                if one.symbol == symbol and one.side is not None
            )
            assert traded == account.positions.get(symbol, 0), "the record knows the position"
            assert traded == book.ledgers["decided"].positions.get(symbol, 0), "and so do the figures"
    for one in desk.orders:
        if one.action.is_larger:
            assert one.inputs.mid_price_nanos * abs(one.target_nanos) <= 200_000 * ATTO
        assert one.state is not State.PENDING_APPROVAL or not one.execution_id


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(Mode), st.integers(0, 2**32))
def test_any_day_keeps_one_parent_a_symbol_its_caps_and_its_record(mode: Mode, seed: int) -> None:
    async def live() -> None:
        desk = Desk(mode, TIGHT)
        await desk.open()
        chance = random.Random(seed)
        for symbol in SYMBOLS:
            desk.quote(symbol=symbol)
        for _ in range(STEPS):
            await take(desk, chance)
            check(desk)
        before, ledgers = dict(desk.book.decisions), desk.book.ledgers
        await desk.restart()
        assert desk.book.decisions == before
        assert desk.book.ledgers == ledgers
        await desk.close()

    asyncio.run(live())
