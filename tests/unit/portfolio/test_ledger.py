"""The ledger is exact, and what it shows depends on what happened, not on when it was told."""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servers.model.nanos import Money
from servers.model.order import Fill, Liquidity, Side
from servers.portfolio.domain.adjustments import Adjustment, AdjustmentKind
from servers.portfolio.domain.ledger import Ledger
from servers.portfolio.domain.position import CHECKPOINT_ENTRIES, PositionState

NANO = 10**9
ATTO = 10**18


def fill(
    number: int,
    side: Side,
    shares: int,
    price_nanos: int,
    time_nanos: int = 0,
    fee_attos: int = 0,
    symbol: str = "ACME",
) -> Fill:
    return Fill(
        "PRACTICE",
        f"x{number}",
        "a",
        f"o{number}",
        "",
        symbol,
        side,
        shares * NANO,
        price_nanos,
        Money("USD", fee_attos),
        Liquidity.TAKER,
        time_nanos,
    )


def state(ledger: Ledger, symbol: str = "ACME") -> PositionState:
    return ledger.positions["a", symbol].state


def opening(shares: int, price: int, at: int = 0, sequence: int = 1, symbol: str = "ACME") -> Adjustment:
    return Adjustment(
        AdjustmentKind.OPENING,
        "a",
        symbol,
        shares * NANO,
        price * NANO,
        Money("USD"),
        effective_time_nanos=at,
        sequence=sequence,
    )


def split(numerator: int, denominator: int, at: int, sequence: int = 1, symbol: str = "ACME") -> Adjustment:
    return Adjustment(
        AdjustmentKind.SPLIT,
        symbol=symbol,
        ratio_numerator=numerator,
        ratio_denominator=denominator,
        effective_time_nanos=at,
        sequence=sequence,
    )


def dividend(cents: int, at: int, sequence: int = 1) -> Adjustment:
    cash = Money("USD", cents * ATTO // 100)
    return Adjustment(
        AdjustmentKind.DIVIDEND, symbol="ACME", cash=cash, effective_time_nanos=at, sequence=sequence
    )


def rename(old: str, new: str, at: int, sequence: int = 1) -> Adjustment:
    return Adjustment(
        AdjustmentKind.SYMBOL_CHANGE, symbol=old, new_symbol=new, effective_time_nanos=at, sequence=sequence
    )


# -- One story ----------------------------------------------------------------------------------------


def test_buys_average_and_sells_realise_at_the_average() -> None:
    ledger = Ledger()
    ledger.book(fill(1, Side.BUY, 10, 100 * NANO, 1, fee_attos=ATTO), 1)
    ledger.book(fill(2, Side.BUY, 30, 104 * NANO, 2), 2)
    ledger.book(fill(3, Side.SELL, 20, 110 * NANO, 3), 3)
    now = state(ledger)
    assert now.quantity_nanos == 20 * NANO
    assert now.average_price_nanos == 103 * NANO
    assert now.realised_attos == 140 * ATTO
    assert now.fees_attos == ATTO
    assert now.unrealised_attos(105 * NANO) == 40 * ATTO
    assert now.unrealised_attos(0) == 0
    assert ledger.cash("a") == {"USD": (-1_000 - 3_120 + 2_200 - 1) * ATTO}


def test_a_sale_through_zero_closes_the_long_and_opens_a_short_at_its_own_price() -> None:
    ledger = Ledger()
    ledger.book(fill(1, Side.BUY, 10, 100 * NANO, 1), 1)
    ledger.book(fill(2, Side.SELL, 25, 90 * NANO, 2), 2)
    now = state(ledger)
    assert (now.quantity_nanos, now.average_price_nanos) == (-15 * NANO, 90 * NANO)
    assert now.open_cost_attos == -1_350 * ATTO
    assert now.realised_attos == -100 * ATTO
    ledger.book(fill(3, Side.BUY, 15, 80 * NANO, 3), 3)
    assert (state(ledger).quantity_nanos, state(ledger).average_price_nanos) == (0, 0)
    assert state(ledger).open_cost_attos == 0
    assert state(ledger).realised_attos == 50 * ATTO


def test_a_fill_that_is_told_twice_is_booked_once() -> None:
    ledger = Ledger()
    assert ledger.book(fill(1, Side.BUY, 10, 100 * NANO), 1) == ("a", "ACME")
    assert ledger.book(fill(1, Side.BUY, 10, 100 * NANO), 2) is None
    assert state(ledger).quantity_nanos == 10 * NANO
    assert ledger.repeated_fills == 1


def test_a_bust_undoes_its_fill_once_and_profit_follows() -> None:
    ledger = Ledger()
    ledger.book(fill(1, Side.BUY, 10, 100 * NANO, 1), 1)
    ledger.book(fill(2, Side.BUY, 10, 200 * NANO, 2), 2)
    ledger.book(fill(3, Side.SELL, 10, 150 * NANO, 3), 3)
    assert state(ledger).realised_attos == 0
    ledger.bust(fill(2, Side.BUY, 10, 200 * NANO, 2))
    assert state(ledger).realised_attos == 500 * ATTO
    assert ledger.bust(fill(2, Side.BUY, 10, 200 * NANO, 2)) is None
    assert ledger.unknown_reversals == 1
    assert ledger.book(fill(2, Side.BUY, 10, 200 * NANO, 2), 4) is None
    assert state(ledger).quantity_nanos == 0


def test_a_correction_replaces_its_fill_once() -> None:
    ledger = Ledger()
    wrong, right = fill(1, Side.BUY, 10, 100 * NANO, 1), fill(9, Side.BUY, 8, 101 * NANO, 1)
    ledger.book(wrong, 1)
    assert ledger.correct(wrong, right, 2) == [("a", "ACME"), ("a", "ACME")]
    assert ledger.correct(wrong, right, 3) == []
    assert (state(ledger).quantity_nanos, state(ledger).average_price_nanos) == (8 * NANO, 101 * NANO)
    ledger.bust(right)
    assert state(ledger).quantity_nanos == 0


def test_a_correction_to_a_fill_that_is_booked_already_only_removes_the_wrong_one() -> None:
    ledger = Ledger()
    wrong, other = fill(1, Side.BUY, 10, 100 * NANO, 1), fill(2, Side.BUY, 5, 100 * NANO, 1)
    ledger.book(wrong, 1)
    ledger.book(other, 2)
    ledger.correct(wrong, other, 3)
    assert state(ledger).quantity_nanos == 5 * NANO


def test_a_split_restates_what_was_traded_before_it_only() -> None:
    ledger = Ledger()
    ledger.book(fill(1, Side.BUY, 10, 90 * NANO, 10), 1)
    ledger.book(fill(2, Side.BUY, 10, 30 * NANO, 20), 2)
    ledger.adjust(split(3, 1, at=20))
    assert state(ledger).quantity_nanos == 40 * NANO
    assert state(ledger).average_price_nanos == 30 * NANO
    assert state(ledger).open_cost_attos == 1_200 * ATTO


def test_a_dividend_goes_to_who_held_at_its_time() -> None:
    ledger = Ledger()
    ledger.book(fill(1, Side.BUY, 10, 100 * NANO, 10), 1)
    ledger.book(fill(2, Side.BUY, 90, 100 * NANO, 20), 2)
    ledger.adjust(dividend(50, at=20))
    assert ledger.cash("a") == {"USD": (5 - 10_000) * ATTO}
    assert state(ledger).dividends_attos == 5 * ATTO


def test_a_short_position_owes_the_dividend() -> None:
    ledger = Ledger()
    ledger.book(fill(1, Side.SELL, 10, 100 * NANO, 10), 1)
    ledger.adjust(dividend(50, at=20))
    assert ledger.cash("a") == {"USD": 995 * ATTO}


def test_a_symbol_change_takes_history_splits_and_late_fills_along() -> None:
    ledger = Ledger()
    ledger.adjust(split(2, 1, at=5))
    ledger.book(fill(1, Side.BUY, 10, 100 * NANO, 1), 1)
    ledger.adjust(rename("ACME", "APEX", at=100, sequence=2))
    assert ("a", "ACME") not in ledger.positions
    ledger.book(fill(2, Side.BUY, 10, 100 * NANO, 4), 2)
    ledger.book(fill(3, Side.BUY, 1, 100 * NANO, 100, symbol="APEX"), 3)
    assert state(ledger, "APEX").quantity_nanos == 41 * NANO
    ledger.bust(fill(2, Side.BUY, 10, 100 * NANO, 4))
    assert state(ledger, "APEX").quantity_nanos == 21 * NANO


def test_opening_cash_and_positions_move_no_money_but_are_carried() -> None:
    ledger = Ledger()
    ledger.adjust(Adjustment(AdjustmentKind.OPENING, "a", cash=Money("USD", 500 * ATTO), sequence=1))
    ledger.adjust(opening(10, 100, sequence=2))
    ledger.book(fill(1, Side.SELL, 10, 120 * NANO, 5), 1)
    assert ledger.cash("a") == {"USD": 1_700 * ATTO}
    assert state(ledger).realised_attos == 200 * ATTO


def test_figures_are_rounded_half_to_even_to_the_smallest_unit() -> None:
    ledger = Ledger()
    ledger.book(fill(1, Side.BUY, 3, 100 * NANO, 1), 1)
    ledger.book(fill(2, Side.BUY, 4, 101 * NANO, 2), 2)
    assert state(ledger).average_price_nanos == round(Fraction(704 * NANO, 7))


def test_a_line_that_is_not_there_cannot_be_taken_out() -> None:
    ledger = Ledger()
    ledger.book(fill(1, Side.BUY, 3, 100 * NANO, 1), 1)
    history = ledger.positions["a", "ACME"]
    (entry,) = history.entries
    with pytest.raises(KeyError):
        history.remove(entry._replace(sequence=99))


# -- Any story ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """One thing that is told: a fill, perhaps to be busted or corrected later, or an adjustment."""

    fill: Fill | None = None
    bust: Fill | None = None
    corrected: Fill | None = None
    adjustment: Adjustment | None = None


fills = st.lists(
    st.tuples(
        st.sampled_from([Side.BUY, Side.SELL]),
        st.integers(1, 500),
        st.integers(1, 200 * NANO),
        st.integers(0, 60),
        st.integers(0, 10**16),
        st.sampled_from(["stays", "stays", "busted", "corrected"]),
    ),
    max_size=40,
)
adjustments = st.lists(
    st.one_of(
        st.builds(split, st.integers(1, 7), st.integers(1, 7), st.integers(0, 60)),
        st.builds(dividend, st.integers(1, 500), st.integers(0, 60)),
        st.builds(opening, st.integers(1, 50), st.integers(1, 100), st.integers(0, 60)),
    ),
    max_size=4,
)


def story(drawn: list[tuple[Side, int, int, int, int, str]], actions: list[Adjustment]) -> list[list[Told]]:
    """Return strands: what stands in one strand keeps its order, strands may be interleaved at will."""
    strands: list[list[Told]] = []
    for number, (side, shares, price, time, fee, fate) in enumerate(drawn):
        first = fill(number, side, shares, price, time, fee)
        strand = [Told(fill=first)]
        if fate == "busted":
            strand.append(Told(bust=first))
        elif fate == "corrected":
            strand.append(Told(bust=first, corrected=fill(number, side, shares + 1, price + 5, time, fee)))
        strands.append(strand)
    for number, action in enumerate(actions):
        fields = {name: getattr(action, name) for name in action.__slots__}
        strands.append([Told(adjustment=Adjustment(**{**fields, "sequence": number + 1}))])
    return strands


def tell(ledger: Ledger, strands: list[list[Told]], seed: int) -> None:
    """Tell all strands in an order that `seed` picks. A fill's sequence is its number, as orders gave it."""
    waiting = [list(strand) for strand in strands if strand]
    chance = random.Random(seed)
    while waiting:
        strand = chance.choice(waiting)
        told = strand.pop(0)
        if told.adjustment is not None:
            ledger.adjust(told.adjustment)
        elif told.corrected is not None and told.bust is not None:
            ledger.correct(told.bust, told.corrected, int(told.bust.venue_execution_id[1:]))
        elif told.bust is not None:
            ledger.bust(told.bust)
        elif told.fill is not None:
            ledger.book(told.fill, int(told.fill.venue_execution_id[1:]))
        if not strand:
            waiting.remove(strand)


def shown(ledger: Ledger) -> dict[tuple[str, str], PositionState]:
    return {key: history.state for key, history in ledger.positions.items() if history.entries}


@given(fills, adjustments, st.integers(0, 10**6), st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_any_order_of_telling_gives_the_same_figures(
    drawn: list[tuple[Side, int, int, int, int, str]], actions: list[Adjustment], one: int, other: int
) -> None:
    strands = story(drawn, actions)
    first, second = Ledger(), Ledger()
    tell(first, strands, one)
    tell(second, strands, other)
    held = {key: state for key, state in shown(first).items() if state != PositionState()}
    assert held == {key: state for key, state in shown(second).items() if state != PositionState()}
    assert first.cash("a") == second.cash("a")


@given(fills, adjustments, st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_figures_equal_an_independent_computation_with_fractions(
    drawn: list[tuple[Side, int, int, int, int, str]], actions: list[Adjustment], seed: int
) -> None:
    strands = story(drawn, actions)
    ledger = Ledger()
    tell(ledger, strands, seed)
    lines: list[tuple[int, int, int, int, Told]] = []
    for strand in strands:
        last = strand[-1]
        if last.adjustment is not None:
            is_opening = last.adjustment.kind is AdjustmentKind.OPENING
            at = last.adjustment.effective_time_nanos
            lines.append((at, int(is_opening), int(is_opening), last.adjustment.sequence, last))
        elif last.corrected is not None or last.bust is None:
            final = last.corrected or last.fill
            assert final is not None
            number = int(final.venue_execution_id[1:])
            lines.append((final.event_time_nanos, 1, 0, number, Told(fill=final)))
    quantity, cost, realised, cash, closings = Fraction(0), Fraction(0), Fraction(0), Fraction(0), 0
    for *_, told in sorted(lines, key=lambda line: line[:4]):
        action = told.adjustment
        if action is not None and action.kind is AdjustmentKind.SPLIT:
            quantity = Fraction(round(quantity * action.ratio_numerator / action.ratio_denominator))
            continue
        if action is not None and action.kind is AdjustmentKind.DIVIDEND:
            assert action.cash is not None
            cash += round(quantity * action.cash.attos / NANO)
            continue
        if action is not None:
            signed, price = Fraction(action.quantity_nanos), action.price_nanos
        else:
            assert told.fill is not None
            signed = Fraction(told.fill.side.sign * told.fill.quantity_nanos)
            price = told.fill.price_nanos
            cash -= signed * price + told.fill.fee.attos
        if quantity * signed < 0:
            closing = min(abs(signed), abs(quantity)) * (1 if signed > 0 else -1)
            released = cost * -closing / quantity
            realised += -closing * price - released
            cost, quantity, signed = cost - released, quantity + closing, signed - closing
            closings += 1
        quantity += signed
        cost += signed * price
    if ("a", "ACME") not in ledger.positions:
        assert quantity == 0
        return
    now = state(ledger)
    assert now.quantity_nanos == quantity
    assert now.cash_attos == cash
    # Each closing rounds the cost that it releases to 1e-18: half a unit, which later ones pass on in part.
    assert abs(now.open_cost_attos - cost) <= closings
    assert abs(now.realised_attos - realised) <= closings


@given(fills, adjustments, st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_cash_and_open_cost_are_carried_cost_profit_and_dividends_less_fees(
    drawn: list[tuple[Side, int, int, int, int, str]], actions: list[Adjustment], seed: int
) -> None:
    ledger = Ledger()
    tell(ledger, story(drawn, actions), seed)
    for now in shown(ledger).values():
        earned = now.carried_cost_attos + now.realised_attos + now.dividends_attos - now.fees_attos
        assert now.cash_attos + now.open_cost_attos == earned
        assert (now.quantity_nanos == 0) <= (now.open_cost_attos == 0) or actions


@pytest.mark.parametrize("seed", range(3))
def test_late_fills_across_checkpoints_equal_fills_in_time(seed: int) -> None:
    chance = random.Random(seed)
    made = [
        fill(
            number,
            chance.choice([Side.BUY, Side.SELL]),
            chance.randint(1, 99),
            chance.randint(1, 10**11),
            number,
        )
        for number in range(3 * CHECKPOINT_ENTRIES)
    ]
    in_time, shuffled = Ledger(), Ledger()
    for one in made:
        in_time.book(one, int(one.venue_execution_id[1:]))
    late = made[:]
    for _ in range(20):
        at = chance.randrange(len(late) - 10)
        late.insert(at + chance.randint(1, 300), late.pop(at))
    for one in late:
        shuffled.book(one, int(one.venue_execution_id[1:]))
    busted = made[CHECKPOINT_ENTRIES - 1 : CHECKPOINT_ENTRIES + 2]
    for one in busted:
        in_time.bust(one)
        shuffled.bust(one)
    assert shown(in_time) == shown(shuffled)
    assert state(in_time).quantity_nanos == sum(
        one.side.sign * one.quantity_nanos for one in made if one not in busted
    )
