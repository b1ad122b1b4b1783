"""The simulated flow is realistic within stated bands, reacts to participants, and gives no money away."""

from __future__ import annotations

import numpy as np
import pytest

from native import book as b
from native.flow import Flow, volume_shape
from tests.native import realism
from tests.native.market_day import DAILY_LOTS, OPEN, SECOND, SESSION, Tape, opened, trade_days


@pytest.fixture(scope="module")
def days() -> list[Tape]:
    return trade_days(seed=7, days=8)


# -- realism, each with its band


def test_a_band_includes_its_ends_and_refuses_what_lies_outside_or_is_no_number() -> None:
    band = realism.Band(1.0, 2.0)
    assert band.holds([1.0, 2.0])
    assert not any(band.holds(value) for value in (0.99, 2.01, float("nan"), [1.5, 3.0]))


def test_the_measures_are_right_where_the_answer_is_known() -> None:
    alternating = np.array([1.0, -1.0] * 100)
    assert realism.autocorrelation(alternating, 1) == pytest.approx(-1.0)
    assert realism.autocorrelation(alternating, 2) == pytest.approx(1.0)
    assert realism.kurtosis(alternating) == pytest.approx(1.0)
    assert realism.kurtosis(np.random.default_rng(1).normal(size=100_000)) == pytest.approx(3.0, abs=0.1)
    sizes = [1, 4, 9]
    assert realism.impact_exponent(sizes, 3 * np.sqrt(sizes)) == pytest.approx(0.5)


def test_the_spread_is_above_zero_and_a_few_ticks_wide(days: list[Tape]) -> None:
    for day in days:
        spread = realism.spreads(day)
        assert realism.SMALLEST_SPREAD.holds(spread.min())
        assert realism.MEAN_SPREAD.holds(spread.mean())
        assert realism.TWO_SIDED_SHARE.holds(realism.two_sided_share(day))


def test_trade_prices_bounce_between_bid_and_ask(days: list[Tape]) -> None:
    assert realism.BOUNCE.holds([realism.bounce(day) for day in days])


@pytest.mark.parametrize("lag", realism.SIGN_MEMORY)
def test_order_signs_have_a_long_memory(days: list[Tape], lag: int) -> None:
    assert realism.SIGN_MEMORY[lag].holds(realism.sign_memory(days, lag))


def test_absolute_returns_stay_correlated_and_returns_do_not(days: list[Tape]) -> None:
    returns = realism.log_returns(days)
    assert realism.RETURN_MEMORY.holds([realism.autocorrelation(returns, lag) for lag in realism.RETURN_LAGS])
    assert realism.ABSOLUTE_RETURN_MEMORY.holds(realism.absolute_return_memory(returns))


def test_returns_have_fat_tails(days: list[Tape]) -> None:
    assert realism.KURTOSIS.holds(realism.kurtosis(realism.log_returns(days)))


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


def test_impact_grows_with_about_the_square_root_of_size_and_partly_decays() -> None:
    impacts = realism.impacts()
    assert realism.IMPACT_EXPONENT.holds(realism.impact_exponent(realism.IMPACT_LOTS, impacts[:, 0]))
    assert impacts[-1, 1] > 0
    assert realism.IMPACT_LEFT.holds(impacts[-1, 1] / impacts[-1, 0])


@pytest.mark.parametrize("plan", realism.ROUND_TRIPS.values(), ids=realism.ROUND_TRIPS)
def test_a_round_trip_loses_on_average(plan: realism.Plan) -> None:
    mean, error = realism.round_trip_result(plan)
    assert mean + 2 * error < 0


def test_a_wash_trade_through_two_accounts_earns_nothing() -> None:
    assert realism.WASH_TRADE_RESULT.holds(realism.wash_trade_cash())


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
