"""A recorded day: its prints go out as they are, and our orders take part in them and no more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.exchange.domain import Happening
from servers.exchange.implied import imply_quotes, price_grid
from servers.exchange.recorded import RecordedMarket
from servers.exchange.recorded_file import prints_of_bars
from servers.model.calendar import Session
from servers.model.market import MarketPhase, TradeFlag
from servers.model.nanos import NANO
from servers.model.order import Liquidity, OrderType, Side, TimeInForce
from servers.recordings import RecordedBars, RecordedTrades
from servers.reference import recorded_instrument
from tests.unit.exchange.exchange_desk import CENT, CLOSE, OPEN, limit, terms

ELIGIBLE = int(TradeFlag.ELIGIBLE)
OFF = ELIGIBLE | int(TradeFlag.OFF_EXCHANGE)
AUCTION = ELIGIBLE | int(TradeFlag.AUCTION)
P = 10 * NANO


def market(*rows: tuple[float, int, int, int], share: float = 1.0) -> RecordedMarket:
    """Return a market over prints of (second of the session, price, shares, flags), open already."""
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    trades = RecordedTrades(
        "ACME",
        (OPEN + columns[0] * NANO).astype(np.int64),
        columns[1].astype(np.int64),
        columns[2].astype(np.int64) * NANO,
        columns[3].astype(np.int64),
    )
    made = RecordedMarket(recorded_instrument("ACME"), trades, print_share=share)
    made.begin_session(OPEN, CLOSE)
    made.enter_phase(MarketPhase.PRE_OPEN, OPEN - 300 * NANO)
    made.advance(OPEN)
    made.enter_phase(MarketPhase.CONTINUOUS, OPEN)
    return made


def run(made: RecordedMarket, second: float) -> list[Happening]:
    made.advance(OPEN + round(second * NANO))
    return made.take_happenings()


def shares_of(happenings: list[Happening]) -> list[float]:
    return [happening.quantity_nanos / NANO for happening in happenings if happening.is_fill]


def test_every_print_goes_out_once_and_as_it_was() -> None:
    rows = [(-100, P, 5, 64), (1, P, 10, ELIGIBLE), (2, P + CENT, 20, OFF), (30_000, P, 7, 64)]
    made = market(*rows)
    assert made.tape.rows()[:, 2].tolist() == [5 * NANO]
    made.advance(CLOSE)
    made.enter_phase(MarketPhase.CLOSING_AUCTION, CLOSE)
    made.enter_phase(MarketPhase.CLOSED, CLOSE + 60 * NANO)
    made.advance(CLOSE + 60 * NANO)
    assert made.is_finished
    assert made.tape.rows()[:, 1].tolist() == [row[1] for row in rows]
    assert made.tape.rows()[:, 3].tolist() == [row[3] for row in rows]


def test_an_aggressive_order_takes_what_prints_and_pays_the_spread() -> None:
    made = market(
        (1, P, 100, ELIGIBLE), (2, P + CENT, 100, ELIGIBLE), (3, P, 60, ELIGIBLE), (4, P, 200, ELIGIBLE)
    )
    run(made, 2)
    assert made.submit(1, 1, terms(Side.BUY, 100)) is None
    fills = run(made, 4)
    assert shares_of(fills) == [60, 40]
    assert all(fill.price_nanos > P and fill.liquidity is Liquidity.TAKER for fill in fills)


def test_our_own_volume_costs_more_the_more_we_take() -> None:
    made = market(*((second, P + CENT * (second % 2), 1_000, ELIGIBLE) for second in range(1, 60)))
    run(made, 2)
    made.submit(1, 1, terms(Side.BUY, 40_000))
    prices = [fill.price_nanos for fill in run(made, 59)]
    assert prices[-1] > prices[0] >= P + CENT
    assert prices == sorted(prices)


@pytest.mark.parametrize("flags", [OFF, 0, ELIGIBLE | int(TradeFlag.EXTENDED_HOURS), int(TradeFlag.CANCEL)])
def test_nothing_fills_against_a_print_that_could_not_be_hit(flags: int) -> None:
    made = market((1, P, 100, ELIGIBLE), (2, P, 100, flags), (3, P, 100, flags))
    run(made, 1)
    made.submit(1, 1, terms(Side.BUY, 100))
    assert run(made, 3) == []


def test_nothing_fills_before_the_open_or_from_an_earlier_print() -> None:
    made = market((-60, P, 1_000, ELIGIBLE), (1, P, 1_000, ELIGIBLE), (5, P, 10, ELIGIBLE))
    made.submit(1, 1, terms(Side.BUY, 100))
    assert made.take_happenings() == []
    run(made, 0.5)
    made.cancel(1)
    run(made, 2)
    made.submit(2, 1, terms(Side.BUY, 100))
    assert shares_of(run(made, 10)) == [10]


def test_a_print_serves_once_whoever_asks() -> None:
    made = market((1, P, 100, ELIGIBLE), (2, P, 100, ELIGIBLE))
    run(made, 1)
    for number in (1, 2, 3):
        made.submit(number, number, terms(Side.BUY, 50))
    assert shares_of(run(made, 2)) == [50, 50]


def test_only_the_stated_share_of_a_print_is_ours() -> None:
    made = market((1, P, 100, ELIGIBLE), (2, P, 100, ELIGIBLE), share=0.25)
    run(made, 1)
    made.submit(1, 1, terms(Side.BUY, 100))
    assert shares_of(run(made, 2)) == [25]


def test_a_passive_order_waits_for_the_queue_and_fills_at_its_price() -> None:
    rows = [(1, P + CENT, 300, ELIGIBLE), (2, P, 300, ELIGIBLE), (3, P + CENT, 300, ELIGIBLE)]
    rows += [(4, P, 100, ELIGIBLE), (5, P, 100, ELIGIBLE), (6, P, 500, ELIGIBLE)]
    made = market(*rows)
    run(made, 3)
    assert made.submit(1, 1, limit(Side.BUY, P, 200)) is None
    assert run(made, 5) == []
    fills = run(made, 6)
    assert shares_of(fills) == [200]
    assert (fills[0].price_nanos, fills[0].liquidity) == (P, Liquidity.MAKER)


def test_a_print_through_a_resting_price_fills_at_that_price() -> None:
    made = market((1, P + CENT, 300, ELIGIBLE), (2, P, 50, ELIGIBLE), (3, P - CENT, 80, ELIGIBLE))
    run(made, 2)
    made.submit(1, 1, limit(Side.BUY, P, 200))
    fills = run(made, 3)
    assert (shares_of(fills), fills[0].price_nanos) == ([80], P)


def test_immediate_orders_end_after_a_second_and_fill_or_kill_is_all_or_nothing() -> None:
    rows = [(1, P, 100, ELIGIBLE), (1.5, P, 40, ELIGIBLE), (1.9, P, 40, ELIGIBLE), (9, P, 500, ELIGIBLE)]
    made = market(*rows)
    run(made, 1)
    made.submit(1, 1, terms(Side.BUY, 50, time_in_force=TimeInForce.FOK))
    made.submit(2, 2, terms(Side.BUY, 50, time_in_force=TimeInForce.FOK))
    made.submit(3, 3, terms(Side.BUY, 50, time_in_force=TimeInForce.IOC))
    happenings = run(made, 10)
    assert shares_of([happening for happening in happenings if happening.number == 1]) == [40, 10]
    ends = {happening.number: happening.reason for happening in happenings if not happening.is_fill}
    assert ends == {2: "FOK_UNFILLABLE", 3: "IOC_REMAINDER"}


def test_auctions_serve_their_own_orders() -> None:
    made = market((1, P, 100, ELIGIBLE), (23_401, P, 100, ELIGIBLE), (23_402, P + CENT, 80, AUCTION))
    run(made, 1)
    made.submit(1, 1, terms(Side.SELL, 50, order_type=OrderType.MARKET_ON_CLOSE))
    made.submit(2, 2, terms(Side.BUY, 50, order_type=OrderType.LIMIT_ON_CLOSE, limit_price_nanos=P))
    made.submit(3, 3, terms(Side.BUY, 500, order_type=OrderType.MARKET_ON_CLOSE))
    run(made, 23_400)
    made.enter_phase(MarketPhase.CLOSING_AUCTION, CLOSE)
    fills = run(made, 23_403)
    assert [(fill.number, fill.price_nanos, fill.liquidity) for fill in fills] == [
        (1, P + CENT, Liquidity.AUCTION),
        (3, P + CENT, Liquidity.AUCTION),
    ]
    assert shares_of(fills) == [50, 30]
    made.enter_phase(MarketPhase.CLOSED, CLOSE + 600 * NANO)
    assert {happening.reason for happening in made.take_happenings()} == {"AUCTION_REMAINDER"}


def test_an_opening_print_serves_what_was_collected() -> None:
    made = market((1, P, 1_000, AUCTION), (2, P, 10, ELIGIBLE))
    made.submit(1, 1, limit(Side.BUY, P, 100))
    fills = run(made, 1)
    assert (shares_of(fills), fills[0].liquidity) == ([100], Liquidity.AUCTION)


def test_post_only_and_self_trades_are_refused() -> None:
    made = market((1, P, 100, ELIGIBLE), (2, P + CENT, 100, ELIGIBLE))
    run(made, 2)
    refusal = made.submit(1, 1, limit(Side.BUY, P + CENT, is_post_only=True))
    assert refusal is not None
    assert refusal.reason == "POST_ONLY_WOULD_TAKE"
    made.submit(2, 1, limit(Side.SELL, P + 2 * CENT))
    for order in (limit(Side.BUY, P + 2 * CENT), terms(Side.BUY)):
        refusal = made.submit(3, 1, order)
        assert refusal is not None
        assert refusal.reason == "SELF_TRADE"
    assert made.submit(4, 2, limit(Side.BUY, P + 2 * CENT)) is None


def test_a_replacement_keeps_or_loses_the_place() -> None:
    made = market((1, P + CENT, 300, ELIGIBLE), (2, P, 300, ELIGIBLE), (3, P, 400, ELIGIBLE))
    run(made, 2)
    made.submit(1, 1, limit(Side.BUY, P, 200))
    assert made.replace(1, limit(Side.BUY, P, 100), 100 * NANO) is None
    assert made.replace(1, limit(Side.BUY, P + CENT, 100, is_post_only=True), 100 * NANO) is not None
    assert shares_of(run(made, 3)) == [100]
    assert made.replace(1, limit(Side.BUY, P, 100), 100 * NANO) is not None
    assert not made.cancel(1)


def test_quotes_follow_prints_and_have_a_spread() -> None:
    made = market((1, P, 100, ELIGIBLE), (2, P + CENT, 100, ELIGIBLE), (2.01, P + CENT, 100, ELIGIBLE))
    run(made, 3)
    quotes = made.take_quotes()
    assert quotes.length == 2
    bids, asks = (np.frombuffer(column, np.int64) for column in (quotes.bid_prices, quotes.ask_prices))
    assert (asks > bids).all()
    assert made.take_quotes().length == 0
    assert made.depth(5)[0][0].price_nanos == bids[-1]
    assert made.reference_price_nanos == P + CENT
    assert made.state() == {"pressure": 0.0}


def test_a_restarted_market_matches_nothing_of_the_past() -> None:
    made = market((1, P, 100, ELIGIBLE), (2, P, 100, ELIGIBLE), (9, P, 30, ELIGIBLE))
    made.resume(OPEN, CLOSE, OPEN + 5 * NANO, MarketPhase.CONTINUOUS)
    assert made.tape.last_sequence == 2
    made.submit(1, 1, terms(Side.BUY, 100))
    assert shares_of(run(made, 10)) == [30]


@given(
    prints=st.lists(
        st.tuples(st.integers(-2, 2), st.integers(1, 500), st.sampled_from([ELIGIBLE, OFF, 0])), min_size=2
    ),
    orders=st.lists(
        st.tuples(st.sampled_from(list(Side)), st.integers(-2, 2), st.integers(1, 400), st.integers(0, 20))
    ),
)
def test_fills_never_exceed_what_traded_where_it_could_be_hit(
    prints: list[tuple[int, int, int]], orders: list[tuple[Side, int, int, int]]
) -> None:
    rows = [
        (second + 1, P + ticks * CENT, shares, flags) for second, (ticks, shares, flags) in enumerate(prints)
    ]
    made = market(*rows)
    traded: dict[int, int] = {}
    for second in range(len(rows) + 1):
        for number, (side, ticks, shares, at) in enumerate(orders):
            if at == second:
                made.submit(number, number, limit(side, P + ticks * CENT, shares))
        for fill in run(made, second):
            when = (fill.time_nanos - OPEN) // NANO
            traded[when] = traded.get(when, 0) + fill.quantity_nanos // NANO
            order = orders[fill.number]
            assert (fill.price_nanos - (P + order[1] * CENT)) * order[0].sign <= 0
    for second, _, shares, flags in rows:
        assert traded.get(second, 0) <= (shares if flags == ELIGIBLE else 0)


def test_the_grid_of_prices_is_found() -> None:
    assert price_grid(np.array([P, P + CENT, P + 3 * CENT])) == CENT
    assert price_grid(np.array([], np.int64)) == 1
    assert len(imply_quotes(RecordedTrades("A", *(np.array([], np.int64),) * 4)).bid_nanos) == 0


def test_prints_made_of_bars_have_their_volume_extremes_and_vwap() -> None:
    starts = np.array([OPEN - 60 * NANO, OPEN, OPEN + 60 * NANO], np.int64)
    bars = RecordedBars(
        "ACME",
        starts,
        np.array([P, P, P], np.int64),
        np.array([P, P + 5 * CENT, P + CENT], np.int64),
        np.array([P, P - 3 * CENT, P - CENT], np.int64),
        np.array([P, P + CENT, P], np.int64),
        np.array([0, P + CENT, 0], np.int64),
        np.array([50.0, 12_345.0, 3.0]),
    )
    session = Session("XNYS", "2023-11-14", "America/New_York", OPEN, CLOSE)
    prints = prints_of_bars(bars, session)
    first = prints.time_nanos < OPEN + 60 * NANO
    sizes, prices = prints.size_nanos[first], prints.price_nanos[first]
    assert sizes.sum() == 12_345 * NANO
    assert (prices.max(), prices.min(), prices[0], prices[-1]) == (P + 5 * CENT, P - 3 * CENT, P, P + CENT)
    assert abs(np.average(prices, weights=sizes.astype(float)) - (P + CENT)) < 10
    assert prints.size_nanos[~first].sum() == 3 * NANO
    assert (np.diff(prints.time_nanos) > 0).all()
