"""A signal without posts orders no more than what prices alone have shown that they know."""

from __future__ import annotations

import numpy as np
import pytest

from servers.decision.domain.book import ON_PAPER, PRICE_ONLY
from servers.decision.domain.evidence import proven_probability, supported
from servers.decision.domain.performance import Ledger
from servers.decision.domain.signal import Signal
from servers.decision.domain.sizing import Action
from tests.unit.decision.decision_desk import Desk
from tests.unit.decision.figures import ACME, NOW, SESSION, signal

SURE = 0.9


def prices_alone(bps: float = 40.0, event_time_nanos: int = NOW) -> Signal:
    """Return a signal that no post is behind."""
    return signal(
        bps,
        event_time_nanos=event_time_nanos,
        probability_up=SURE,
        price_only_probability_up=SURE,
        post_ids=(),
        author_count=0,
        source_count=0,
    )


@pytest.mark.parametrize(("hits", "measured"), [(0, 0), (1, 1), (60, 100), (0, 1_000), (520, 1_000)])
def test_few_orders_and_a_rate_near_chance_prove_nothing(hits: int, measured: int) -> None:
    assert proven_probability(hits, measured, 0.05) == 0.5


def test_a_rate_that_stays_high_is_proven_ever_closer() -> None:
    proven = [proven_probability(round(0.6 * count), count, 0.05) for count in (1_000, 10_000, 100_000)]
    assert 0.5 < proven[0] < proven[1] < proven[2] < 0.6
    assert proven_probability(600, 1_000, 0.001) < proven[0]


def test_chance_is_believed_at_no_time_in_more_runs_than_stated() -> None:
    counts = range(1, 401)
    hits = np.cumsum(np.random.default_rng(1).random((1_000, len(counts))) < 0.5, axis=1)
    least, fewest = [], 0
    for count in counts:
        while fewest <= count and proven_probability(fewest, count, 0.05) == 0.5:
            fewest += 1
        least.append(fewest)
    believed = (hits >= np.array(least)).any(axis=1)
    assert believed.mean() < 0.05


def test_a_signal_is_no_surer_and_expects_no_more_than_is_proven() -> None:
    rise, fall = (supported(signal(bps), 0.6, ACME) for bps in (40.0, -40.0))
    assert (rise.probability_up, fall.probability_up) == (0.6, 0.4)
    assert rise.expected_return_bps == -fall.expected_return_bps == pytest.approx(0.2533 * 40.0, rel=1e-3)
    nothing = supported(signal(), 0.5, ACME)
    assert nothing.edge_bps(NOW, ACME.daily_volatility, SESSION) == 0.0
    assert supported(signal(), 0.9, ACME) == signal()


async def test_prices_alone_open_nothing_before_they_have_shown_what_they_know(desk: Desk) -> None:
    await desk.engine.on_signal(prices_alone())
    assert desk.orders == []
    assert desk.last.reason_code == "UNPROVEN"
    assert "prices alone have not shown" in desk.last.reason
    assert "ACME" not in desk.book.ledgers[ON_PAPER].positions
    assert desk.book.ledgers[PRICE_ONLY].positions["ACME"] > 0


async def test_prices_alone_open_what_their_record_supports(desk: Desk) -> None:
    desk.book.ledgers[PRICE_ONLY] = Ledger(measured=1_000, hits=800)
    await desk.engine.on_signal(prices_alone())
    (order,) = desk.orders
    assert order.action is Action.OPEN
    assert 0 < order.edge_bps < 40.0
    assert order.inputs.probability_up == SURE


async def test_what_posts_have_opened_is_not_closed_for_want_of_proof(desk: Desk) -> None:
    await desk.engine.on_signal(signal(12.0))
    await desk.fill(desk.orders[0])
    await desk.facts(desk.account.end(desk.orders[0].execution_id, NOW))
    await desk.later(6)
    now = desk.market.now_nanos
    await desk.engine.on_signal(prices_alone(90.0, event_time_nanos=now))
    assert desk.last.reason_code == "UNPROVEN"
    assert desk.last.target_nanos == desk.orders[0].quantity_nanos
    assert len(desk.orders) == 1
