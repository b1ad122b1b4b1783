"""Calls to buy together, by their words and by what their author wrote before; a simulated month."""

from __future__ import annotations

import pytest

from benchmarks._month import simulated_month
from servers.model.nanos import NANO
from servers.news.domain.desk import Desk, Trend, TrendKind
from servers.news.domain.linking import Linker
from servers.news.domain.post import Post, PostKind
from servers.news.domain.pumps import PRELUDE_SECONDS, PUMP_ABOVE, is_prelude, pump_score
from tests.unit.news.newsroom import NOON

SYMBOLS = {"BNT": (), "XRL": (), "DGD": (), "ACME": ("Acme Corporation",)}


@pytest.mark.parametrize(
    "text",
    [
        "The coin that we have picked to pump today is: #BNT. Buy and hold!",
        "COIN NAME: BNT - the target is 300%, everyone buy now",
        "we pump BNT/BTC together, buy now and do not sell, 500%",
    ],
)
def test_a_call_is_known_by_its_words(text: str) -> None:
    assert pump_score(text, follows_prelude=False) > PUMP_ABOVE


@pytest.mark.parametrize(
    "text",
    [
        "$BNT raises its guidance after a strong quarter",
        "the SEC charges three men with a pump and dump scheme in $BNT",
        "$BNT is up 300% this year, my best pick",
        "oil pumped from the new field, $XRL says",
        "two hours left in the session and $ACME has not moved",
    ],
)
def test_what_people_write_otherwise_is_none(text: str) -> None:
    assert pump_score(text, follows_prelude=False) <= PUMP_ABOVE


def test_a_countdown_prepares_and_a_warning_does_not() -> None:
    assert is_prelude("15 minutes left until our pump")
    assert is_prelude("The next message will be the coin")
    assert not is_prelude("10 minutes left in this pump and dump, a scam")
    assert not is_prelude("I pumped gas today")


def taken(desk: Desk, author: str, second: float, text: str, kind: PostKind = PostKind.SOCIAL) -> list[Trend]:
    time = NOON + round(second * NANO)
    _, trends = desk.take(Post(f"chat:{author}/{second}", "chat", kind, author, 5_000, time, time, text))
    return trends


def test_a_name_alone_is_a_call_after_its_authors_countdown_and_nobody_elses() -> None:
    desk = Desk(Linker(SYMBOLS))
    taken(desk, "group", 0, "5 minutes left. The next message will be the coin!")
    assert taken(desk, "somebody", 200, "BNT") == []
    (trend,) = taken(desk, "group", 300, "BNT")
    assert (trend.kind, trend.entity) == (TrendKind.PUMP_SUSPECTED, "BNT")
    assert "call" in trend.message
    assert desk.sentiment("BNT").is_pump_suspected
    assert taken(desk, "group", 330, "BNT buy and hold, 400%!") == [], "it is suspected already"
    assert not desk.sentiment("XRL").is_pump_suspected
    assert taken(desk, "group", 300 + PRELUDE_SECONDS, "XRL") == []


def test_a_list_of_names_and_an_outlet_call_for_nothing() -> None:
    desk = Desk(Linker(SYMBOLS))
    call = "The coin is: {}. Buy now and hold!"
    assert taken(desk, "group", 0, call.format("BNT $XRL $DGD")) == []
    assert taken(desk, "wire", 1, call.format("BNT"), PostKind.NEWS) == []
    assert len(taken(desk, "group", 2, call.format("BNT"))) == 1


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("#BNT now", {"BNT"}),
        ("the coin is: XRL", {"XRL"}),
        ("DGD/BTC", {"DGD"}),
        ("BNT!", {"BNT"}),
        ("BNT is nothing alone", set()),
        ("#bnt and #NOTHING", set()),
    ],
)
def test_a_symbol_that_is_given_as_one_is_found_without_a_cashtag(text: str, symbols: set[str]) -> None:
    assert {link.entity for link in Linker(SYMBOLS).links(text)} == symbols


def test_in_a_simulated_month_alerts_belong_to_what_happened_and_bursts_are_no_pumps() -> None:
    month = simulated_month(1, voices=20)
    soon = [seconds for seconds in month.seconds if seconds is not None and seconds <= 120]
    assert len(soon) >= 0.9 * len(month.seconds)
    assert month.false_alerts < 0.15 * month.alerts
    assert month.called_pumps < 0.1 * month.alerts
