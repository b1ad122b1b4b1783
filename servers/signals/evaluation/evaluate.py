"""The whole study on two files: read, walk, compare, correct, audit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from servers.model.errors import InvalidInput
from servers.signals.domain.walk_forward import WalkForward
from servers.signals.evaluation.audits import NULL_DRAWS, Material, Steps, null_control, run_audits
from servers.signals.evaluation.comparing import ConfigurationLog, Table, compare, kept_moves, verdict
from servers.signals.evaluation.daily import DailyOptions, build_features, build_panel, sessions_with_posts
from servers.signals.evaluation.files import Posts, Prices, load_outlets, read_posts, read_prices
from servers.signals.evaluation.study import ALL, ALTERNATIVES, MODELS, PRIMARY, Configuration, walk
from servers.signals.evaluation.text_features import TextReading, read_words

ALL_DAYS, FILTERED = "all stock-days", "moves above 0.55 % or below -0.5 % alone (paper-style)"
FIRST_TRAIN_DAYS, REFIT_DAYS = 120, 5
LEAST_SESSIONS = 60
LEAST_SHARE_OF_NEWS = 0.01
Tone = Callable[[str], float]


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What is studied; `is_quick` leaves out all but the tables of the primary configuration."""

    tweets: Path
    prices: Path
    daily: DailyOptions = field(default_factory=DailyOptions)
    is_quick: bool = False
    null_draws: int = NULL_DRAWS


@dataclass(frozen=True, slots=True)
class Finding:
    """What came out: tables for people, and the whole for a file."""

    tables: tuple[Table, ...]
    json: dict[str, Any]


def evaluate(options: EvaluationOptions, tone: Tone, on_step: Steps) -> Finding:
    """Run the study; `tone` reads a text as -1 (bearish) to 1 (bullish). `on_step` hears what is being done.

    Raises InvalidInput FILE_MALFORMED for a file that cannot be read or is too short to learn from.
    """
    on_step("reading prices")
    prices = read_prices(options.prices)
    on_step("reading posts")
    posts = read_posts(
        options.tweets, prices.symbols, load_outlets(), lambda count: on_step(f"reading posts: {count:,}")
    )
    first, end = sessions_with_posts(prices, posts, options.daily.margin_seconds)
    sessions = end - first
    if sessions < LEAST_SESSIONS:
        raise InvalidInput(
            "FILE_MALFORMED",
            f"posts and prices share {max(sessions, 0)} sessions; a study needs {LEAST_SESSIONS}",
            file=options.tweets,
        )
    on_step("reading what posts say")
    reading = TextReading(np.array([tone(text) for text in posts.texts]), read_words(posts.texts))
    prices = _before(prices, end)
    material = Material(prices, posts, reading, options.daily, _scheme(sessions))
    features = build_features(prices, posts, reading, options.daily, on_step)
    panel = build_panel(prices, features, options.daily, first)
    models = {name: groups for name, groups in MODELS.items() if name != "news_only" or _has_news(posts)}
    log = ConfigurationLog()

    def table_of(configuration: Configuration, title: str, scheme: WalkForward) -> tuple[Table, Table]:
        answers = {}
        for name, groups in models.items():
            on_step(f"{configuration.name}: {name}")
            answers[name] = walk(panel, groups, scheme, configuration)
        block = options.daily.horizon_sessions
        whole = compare(ALL_DAYS, panel, answers, block_days=block)
        filtered = compare(FILTERED, panel, answers, kept_moves(panel.moves), block)
        for table in (whole, filtered):
            log.record(title, table)
        return whole, filtered

    tables = table_of(PRIMARY, f"primary: {PRIMARY.name}", material.scheme)
    result: dict[str, Any] = {
        "data": _data_json(prices, posts, sessions, len(panel)),
        "protocol": _protocol_json(options.daily, material.scheme),
        "news_only_available": "news_only" in models,
    }
    if not options.is_quick:
        for configuration in ALTERNATIVES:
            table_of(configuration, configuration.name, material.coarse())
        result["audits"] = [audit.to_json() for audit in run_audits(material, features, panel, on_step)]
        result["null_control"] = null_control(panel, material.coarse(), on_step, options.null_draws)
    entries = log.corrected()
    result["tables"] = [table.to_json() for table in tables]
    result["configurations"] = entries
    result["target"] = verdict(
        tables[0].gains[ALL],
        next(entry["corrected_p_value"] for entry in entries if entry["model"] == ALL),
    )
    return Finding(tables, result)


def _scheme(sessions: int) -> WalkForward:
    """Return the walk: a shorter file is learnt from for a third of its sessions at least."""
    return WalkForward(min(FIRST_TRAIN_DAYS, sessions // 3), REFIT_DAYS)


def _has_news(posts: Posts) -> bool:
    return bool(posts.is_news.mean() >= LEAST_SHARE_OF_NEWS)


def _before(prices: Prices, end: int) -> Prices:
    """Return prices up to the session after the last with posts, whose move that one asks about."""
    last = min(end + 1, len(prices.dates))
    return Prices(
        prices.symbols,
        prices.dates[:last],
        *(getattr(prices, name)[:last] for name in ("open", "high", "low", "close", "volume")),
    )


def _data_json(prices: Prices, posts: Posts, sessions: int, rows: int) -> dict[str, Any]:
    return {
        "symbols": len(prices.symbols),
        "first_price_date": prices.dates[0].isoformat(),
        "last_price_date": prices.dates[-1].isoformat(),
        "posts_read": posts.read_count,
        "posts_without_a_symbol": posts.unlinked_count,
        "post_and_symbol_pairs": len(posts.time_nanos),
        "share_of_news": float(posts.is_news.mean()),
        "sessions_with_posts": sessions,
        "stock_days": rows,
    }


def _protocol_json(daily: DailyOptions, scheme: WalkForward) -> dict[str, Any]:
    return {
        "posts_cut": f"16:00 New York less {daily.margin_seconds} s",
        "move": f"next open to the close {daily.horizon_sessions} session(s) on",
        "purge": "rows whose move was not over at the first question are not learnt from",
        "walk": asdict(scheme),
        "intervals": "95 %, bootstrap of whole days, 2,000 samples",
        "comparator": "the better of majority and price-only, after the fact, by each measure",
        "correction": "Holm over every configuration, choice of rows, model and measure of this run",
        "primary": PRIMARY.name,
    }
