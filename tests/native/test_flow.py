"""The simulated flow is realistic within stated bands, reacts to participants, and gives no money away."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from native import book as b
from native.flow import Flow, volume_shape
from tests.native.market_day import DAILY_LOTS, OPEN, SECOND, SESSION, Tape, cash_of, opened, trade_days

SEEDS = range(40)


@pytest.fixture(scope="module")
def days() -> list[Tape]:
    return trade_days(seed=7, days=8)


def autocorrelation(values: npt.NDArray[np.float64], lag: int) -> float:
    centred = values - values.mean()
    return float((centred[lag:] * centred[:-lag]).mean() / centred.var())


def order_signs(day: Tape) -> npt.NDArray[np.float64]:
    """One sign an aggressive order: prints of one moment belong together."""
    continuous = (day.flags & b.AUCTION_FLAG) == 0
    times = day.times[continuous]
    first = np.append(True, np.diff(times) > 0)
    return np.where(day.flags[continuous][first] & b.BUYER_FLAG, 1.0, -1.0)


def minute_returns(day: Tape) -> npt.NDArray[np.float64]:
    return np.diff(np.log(day.mid_at(np.arange(day.quote_times[0], day.quote_times[-1], 60 * SECOND))))


# -- realism, each with its band


def test_the_spread_is_above_zero_and_a_few_ticks_wide(days: list[Tape]) -> None:
    for day in days:
        both = (day.bids > 0) & (day.asks > 0)
        spread = (day.asks - day.bids)[both]
        assert spread.min() >= 1
        assert 1.0 <= spread.mean() <= 4.0
        assert both.mean() > 0.99


def test_trade_prices_bounce_between_bid_and_ask(days: list[Tape]) -> None:
    for day in days:
        continuous = (day.flags & b.AUCTION_FLAG) == 0
        moves = np.diff(day.prices[continuous][np.append(True, np.diff(day.times[continuous]) > 0)])
        assert -0.55 < autocorrelation(moves.astype(float), 1) < -0.2


def test_order_signs_have_a_long_memory(days: list[Tape]) -> None:
    lags = {
        lag: float(np.mean([autocorrelation(order_signs(day), lag) for day in days])) for lag in (1, 10, 50)
    }
    assert 0.1 < lags[1] < 0.5
    assert lags[10] > 0.03
    assert lags[50] > 0.007


def test_absolute_returns_stay_correlated_and_returns_do_not(days: list[Tape]) -> None:
    returns = np.concatenate([minute_returns(day) for day in days])
    for lag in (1, 2, 5):
        assert abs(autocorrelation(returns, lag)) < 0.06
    assert np.mean([autocorrelation(np.abs(returns), lag) for lag in (1, 2, 3, 5)]) > 0.05


def test_returns_have_fat_tails(days: list[Tape]) -> None:
    returns = np.concatenate([minute_returns(day) for day in days])
    assert ((returns - returns.mean()) ** 4).mean() / returns.var() ** 2 > 4.0


def test_volume_is_heavy_tailed_u_shaped_and_near_its_daily_size(days: list[Tape]) -> None:
    volumes = [int(day.sizes.sum()) for day in days]
    assert 0.5 * DAILY_LOTS < np.mean(volumes) < 2.0 * DAILY_LOTS
    by_hour = np.zeros(13)
    for day in days:
        continuous = (day.flags & b.AUCTION_FLAG) == 0
        slots = ((day.times[continuous] - day.times[0]) // (1_800 * SECOND)).clip(0, 12)
        by_hour += np.bincount(slots, day.sizes[continuous], 13)
    assert min(by_hour[0], by_hour[-1]) > 1.5 * by_hour[5:8].mean()
    sizes = np.concatenate([day.sizes for day in days])
    assert np.percentile(sizes, 99.9) > 10 * np.median(sizes)


def test_the_expected_volume_has_mean_one() -> None:
    grid = (np.arange(10_000) + 0.5) / 10_000
    assert np.mean([volume_shape(position) for position in grid]) == pytest.approx(1.0, abs=1e-3)


# -- what it promises


def test_the_same_seed_gives_the_same_day_however_it_is_cut() -> None:
    tapes = []
    for step in (250_000_000, 10 * SECOND):
        book, flow = opened(3)
        for until in range(OPEN + step, OPEN + 600 * SECOND + 1, step):
            flow.advance(until)
        tapes.append(book.take_trades(1, 1))
    assert tapes[0] == tapes[1]
    other = opened(4)
    other[1].advance(OPEN + 600 * SECOND)
    assert other[0].take_trades(1, 1) != tapes[0]


def test_an_order_that_only_rests_does_not_press_on_the_price() -> None:
    values = []
    for lots in (1, 100_000):
        book, flow = opened(5)
        book.submit(b.BUY, b.LIMIT, b.RESTING, 1, lots, owner=1, reference=1)
        flow.advance(OPEN + 60 * SECOND)
        values.append(flow.participants_pressure)
    assert values == [0.0, 0.0]


@pytest.mark.parametrize(
    ("price", "lots", "volatility"), [(0, 1, 0.1), (1, 0, 0.1), (1, 1, 0), (float("nan"), 1, 1)]
)
def test_a_flow_needs_price_volume_and_volatility(price: float, lots: float, volatility: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Flow(b.Book(), 1, price, lots, volatility)


def test_a_session_must_close_after_it_opens() -> None:
    flow = Flow(b.Book(), 1, 100, 1e6, 0.01)
    with pytest.raises(ValueError, match="close after it opens"):
        flow.begin_session(5, 5)
    with pytest.raises(ValueError, match="above 0"):
        flow.restore(0, 0)


def test_what_was_kept_is_where_a_restored_flow_goes_on() -> None:
    flow = Flow(b.Book(), 1, 100, 1e6, 0.01)
    flow.begin_session(OPEN, OPEN + SESSION, 0.0)
    flow.restore(123.0, 10_000.0)
    assert flow.fundamental == 123.0
    assert flow.fair_price == pytest.approx(123.0 * (1 + 0.01 * 0.1))


def test_a_halted_market_prints_nothing() -> None:
    book, flow = opened(9)
    book.take_trades(1, 1)
    book.set_mode(b.CLOSED)
    flow.advance(OPEN + 300 * SECOND)
    assert book.take_trades(1, 1)[0] == 0


# -- participants


def pushed(seed: int, lots: int, wait: int = 0) -> tuple[float, float]:
    """Return mid after buying `lots` in five minutes, and `wait` seconds later."""
    book, flow = opened(seed)
    time = OPEN + 900 * SECOND
    flow.advance(time)
    for _ in range(20):
        if lots:
            book.submit(b.BUY, b.MARKET, b.IMMEDIATE, 0, lots // 20, owner=1, reference=1)
        time += 15 * SECOND
        flow.advance(time)
    bid, _, ask, _ = book.best()
    flow.advance(time + wait * SECOND)
    later = book.best()
    return (bid + ask) / 2, (later[0] + later[2]) / 2


def test_impact_grows_with_about_the_square_root_of_size_and_partly_decays() -> None:
    base = np.array([pushed(seed, 0, 2_400) for seed in SEEDS])
    sizes = [25_000, 50_000, 100_000, 200_000]
    impacts = np.array(
        [(np.array([pushed(seed, size, 2_400) for seed in SEEDS]) - base).mean(axis=0) for size in sizes]
    )
    exponent = np.polyfit(np.log(sizes), np.log(impacts[:, 0]), 1)[0]
    assert 0.4 <= exponent <= 0.7
    assert 0.0 < impacts[-1, 1] < 0.8 * impacts[-1, 0]


Plan = list[tuple[int, int, int]]
BUY_SLOWLY: Plan = [(15, b.BUY, 5_000)] * 20
SELL_SLOWLY: Plan = [(15, b.SELL, 5_000)] * 20


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param([(1, b.BUY, 20_000), (1, b.SELL, 20_000)], id="a fast round trip"),
        pytest.param([*BUY_SLOWLY, (15, b.SELL, 50_000), (15, b.SELL, 50_000)], id="buy slowly, sell fast"),
        pytest.param([(15, b.BUY, 50_000), (15, b.BUY, 50_000), *SELL_SLOWLY], id="buy fast, sell slowly"),
        pytest.param([*BUY_SLOWLY, *SELL_SLOWLY], id="a momentum trigger upwards"),
        pytest.param([*SELL_SLOWLY, *BUY_SLOWLY], id="a momentum trigger downwards"),
        pytest.param([*BUY_SLOWLY, (600, b.SELL, 5_000), *SELL_SLOWLY[1:]], id="buy, wait, sell"),
    ],
)
def test_a_round_trip_loses_on_average(plan: Plan) -> None:
    results = []
    for seed in SEEDS:
        book, flow = opened(seed)
        time = OPEN + 900 * SECOND
        flow.advance(time)
        sides: dict[int, int] = {}
        cash = position = 0
        todo = list(plan)
        while todo or position:
            # What a plan could not trade for want of a counterparty is closed at the end.
            side = b.SELL if position > 0 else b.BUY
            wait, side, lots = todo.pop(0) if todo else (15, side, min(abs(position), 5_000))
            time += wait * SECOND
            flow.advance(time)
            sides[len(sides) + 1] = 1 if side == b.BUY else -1
            book.submit(side, b.MARKET, b.IMMEDIATE, 0, lots, owner=1, reference=len(sides))
            more_cash, more = cash_of(book.take_events(), sides)
            cash, position = cash + more_cash, position + more
        results.append(cash / sum(lots for _, _, lots in plan))
    mean, error = np.mean(results), np.std(results) / np.sqrt(len(results))
    assert mean + 2 * error < 0


def test_a_wash_trade_through_two_accounts_earns_nothing() -> None:
    book, flow = opened(11)
    flow.advance(OPEN + 60 * SECOND)
    bid, _, ask, _ = book.best()
    sides = {1: -1, 2: 1}
    book.submit(b.SELL, b.LIMIT, b.RESTING, ask, 5_000, owner=1, reference=1)
    book.submit(b.BUY, b.LIMIT, b.RESTING, ask, 5_000 + 10_000, owner=2, reference=2)
    cash, position = cash_of(book.take_events(), sides)
    assert cash + position * bid <= 0


def test_a_touch_is_not_a_fill() -> None:
    book, flow = opened(12)
    flow.advance(OPEN + 60 * SECOND)
    bid, ahead, _, _ = book.best()
    handle = book.submit(b.BUY, b.LIMIT, b.RESTING, bid, 100, owner=1, reference=1)
    assert book.lots_ahead(handle) == ahead
    book.submit(b.SELL, b.LIMIT, b.IMMEDIATE, bid, ahead)
    assert book.take_events() == []
    book.submit(b.SELL, b.LIMIT, b.IMMEDIATE, bid, 100)
    assert [event[4] for event in book.take_events()] == [100]
