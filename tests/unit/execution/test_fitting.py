"""The live forecast: fitted on earlier sessions as the backtester fits it, and told in plan and report."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import numpy as np
import pytest

from native.volume_share import ShareForecast
from servers.execution import fitting
from servers.execution.adapters.memory import OPEN_NANOS, PracticeMarket, PracticeVenue, Step
from servers.execution.domain.fitting import FIT_BIN_NANOS, FittedForecast, fit_forecast
from servers.execution.domain.forecast import SessionForecast
from servers.execution.domain.parameters import SessionTimes
from servers.execution.domain.quality import PastDay
from servers.execution.fitting import SessionFits
from servers.forecast import Panel, WalkForward
from servers.model.calendar import Session
from servers.model.errors import Unavailable
from servers.model.nanos import NANO

BINS = 24
LENGTH = BINS * FIT_BIN_NANOS
HALF = LENGTH // 2


def day(number: int, seed: int = 0, level: float = 1_000.0, bins: int = BINS) -> PastDay:
    """Return a session with a U-shaped curve and a size of its own; a bin of some has no trade."""
    chance = np.random.default_rng(1_000 * seed + number)
    shape = 1 + 1.5 * (np.linspace(-1, 1, BINS)[:bins]) ** 2
    volumes = (
        level * np.exp(0.4 * chance.standard_normal()) * shape * np.exp(0.3 * chance.standard_normal(bins))
    )
    kept = np.flatnonzero(chance.random(bins) > 0.05)
    prices = 30 * np.exp(np.cumsum(0.002 * chance.standard_normal(bins)))
    return PastDay(
        kept * FIT_BIN_NANOS, prices[kept], volumes[kept], f"2024-01-{number + 1:02d}", bins * FIT_BIN_NANOS
    )


def walked(history: dict[str, Sequence[PastDay]], bins: int) -> tuple[WalkForward, Panel]:
    """Walk through the same sessions as a backtest does: ask before each, learn it when it is over."""
    symbols, days = tuple(sorted(history)), [one.date for one in next(iter(history.values()))]
    shape = (len(symbols), len(days), BINS)
    volumes, prices = np.zeros(shape), np.full(shape, np.nan)
    counts = np.zeros(len(days), np.int64)
    for row, symbol in enumerate(symbols):
        for place, one in enumerate(history[symbol]):
            volumes[row, place, one.offsets // FIT_BIN_NANOS] = one.volumes
            prices[row, place, one.offsets // FIT_BIN_NANOS] = one.prices
            counts[place] = one.length_nanos // FIT_BIN_NANOS
    panel = Panel(symbols, tuple(Session("", date, "", 0, 1) for date in days), counts, volumes, prices)
    walk = WalkForward()
    for place in range(1, len(days)):
        past, mine = panel.before(place), int(counts[place])
        known = walk.before(past, mine)
        walk.learn(known, past, volumes[:, place, :mine], prices[:, place, :mine])
    return walk, panel


@pytest.mark.parametrize("peers", [(), ("BOLT", "CRUX")])
def test_the_fit_is_that_of_the_backtester(peers: tuple[str, ...]) -> None:
    history: dict[str, Sequence[PastDay]] = {
        symbol: [day(number, seed, bins=12 if number == 9 else BINS) for number in range(25)]
        for seed, symbol in enumerate(("ACME", *peers))
    }
    fitted = fit_forecast("ACME", history, BINS)
    assert fitted is not None
    walk, panel = walked(history, BINS)
    known = walk.before(panel, BINS)
    row = panel.symbols.index("ACME")
    assert fitted.curve_shares == pytest.approx(known.curves[row])
    assert fitted.day_volume == pytest.approx(known.volumes[row])
    assert fitted.coefficients == pytest.approx(known.coefficients, abs=1e-6)
    assert fitted.previous_price == known.previous_prices[row]
    assert fitted.typical_move == pytest.approx(known.typical_moves[row])
    assert (fitted.session_count, fitted.peer_count) == (25, len(peers))
    assert f"together with {len(peers)} other" in fitted.sentence or not peers


def test_a_half_day_gets_the_first_half_of_the_curve() -> None:
    whole = fit_forecast("ACME", {"ACME": [day(number) for number in range(8)]}, BINS)
    half = fit_forecast("ACME", {"ACME": [day(number) for number in range(8)]}, BINS // 2)
    assert whole is not None
    assert half is not None
    first = np.array(whole.curve_shares[: BINS // 2])
    assert half.curve_shares == pytest.approx(first / first.sum())
    assert half.day_volume == pytest.approx(whole.day_volume * first.sum())


@pytest.mark.parametrize(
    "history",
    [{}, {"ACME": ()}, {"ACME": [day(1)]}, {"BOLT": [day(1), day(2), day(3)]}],
    ids=["none", "empty", "one session", "peers alone"],
)
def test_too_little_history_makes_no_fit(history: dict[str, Sequence[PastDay]]) -> None:
    assert fit_forecast("ACME", history, BINS) is None
    assert fit_forecast("ACME", {"ACME": [day(1), day(2)]}, BINS + 1) is None


def test_the_session_is_forecast_from_prints_as_the_backtester_does_from_bars() -> None:
    fitted = fit_forecast("ACME", {"ACME": [day(number) for number in range(25)]}, BINS)
    assert fitted is not None
    edges = [index * FIT_BIN_NANOS for index in range(BINS + 1)]
    live = SessionForecast(edges, fitted.curve_shares, fitted.day_volume, fitted)
    whole = ShareForecast(
        fitted.curve_shares,
        fitted.day_volume,
        fitted.coefficients,
        fitted.previous_price,
        fitted.typical_move,
    )
    live.begin(0.0, 0)
    for index, (shares, price) in enumerate([(5_000, 31), (0, 0), (900, 33), (2_000, 29)]):
        if shares:
            times = np.array([edges[index] + NANO, edges[index + 1] - NANO])
            sizes = np.array([shares * NANO // 2] * 2)
            live.add(times, sizes, np.array([(price - 1) * NANO, (price + 1) * NANO]))
        whole.update(index, float(shares), float(price) if price else math.nan)
        assert live.expect(edges[index + 1])[index + 1 :] == pytest.approx(whole.remaining_volumes())


def test_what_traded_before_the_parent_began_counts_at_the_price_on_arrival() -> None:
    fitted = FittedForecast((0.25,) * 4, 1_000.0, (0.0,) * 16, 30.0, 0.01, 9, 0)
    moved = FittedForecast((0.25,) * 4, 1_000.0, (0.0,) * 8 + (1.0,) * 4 + (0.0,) * 4, 30.0, 0.01, 9, 0)
    edges = [index * FIT_BIN_NANOS for index in range(5)]
    volumes = []
    for forecast in (fitted, moved):
        live = SessionForecast(edges, forecast.curve_shares, forecast.day_volume, forecast)
        live.begin(250.0, edges[1], 33.0)
        volumes.append(float(live.expect(edges[1]).sum()))
    assert volumes[0] == pytest.approx(750.0)
    assert volumes[1] == pytest.approx(750.0 * (1 + math.log(1.1) / 0.01))


SESSION = SessionTimes(OPEN_NANOS, OPEN_NANOS + LENGTH)


async def test_those_who_wait_share_one_fit_and_a_market_that_was_away_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    market = PracticeMarket(PracticeVenue(lambda _: Step()))
    market.days = [day(number) for number in range(25)]
    fits = SessionFits(market)
    calls = []

    def counted(symbol: str, history: dict[str, Sequence[PastDay]], bins: int) -> FittedForecast | None:
        calls.append(symbol)
        return fit_forecast(symbol, history, bins)

    monkeypatch.setattr(fitting, "fit_forecast", counted)
    market.is_away = True
    assert await fits.fitted("ACME", SESSION) is None
    market.is_away = False
    first, second = await asyncio.gather(fits.fitted("ACME", SESSION), fits.fitted("ACME", SESSION))
    assert first is second is not None
    assert calls == ["ACME"]
    market.is_away = True
    with pytest.raises(Unavailable):
        await market.past_days("ACME", 0)
    assert await fits.fitted("ACME", SESSION) is first


async def test_a_short_history_is_fitted_together_with_peers() -> None:
    class Peered(PracticeMarket):
        async def past_days(self, symbol: str, before_nanos: int) -> Sequence[PastDay]:
            return [day(number, seed=ord(symbol[0])) for number in range(5)]

        async def peers(self, symbol: str) -> Sequence[str]:
            return [f"{letter}OLT" for letter in "BCDEFGHIJKLMNOPQRSTUV"]

    fitted = await SessionFits(Peered(PracticeVenue(lambda _: Step()))).fitted("ACME", SESSION)
    assert fitted is not None
    assert (fitted.session_count, fitted.peer_count) == (5, 15)


async def test_history_that_takes_too_long_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "FIT_SECONDS", 0.01)

    class Slow(PracticeMarket):
        async def past_days(self, symbol: str, before_nanos: int) -> Sequence[PastDay]:
            await asyncio.Event().wait()
            return ()

    assert await SessionFits(Slow(PracticeVenue(lambda _: Step()))).fitted("ACME", SESSION) is None
