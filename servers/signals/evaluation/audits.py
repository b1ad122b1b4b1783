"""Is the study honest? The future erased, leaks planted, labels shuffled, posts moved in time.

An audit is worth something only if it sees what it should: each planted leak has to be flagged, and the study
itself must not be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from servers.signals.domain.panel import Doubles, FeatureBlock, Group, Panel
from servers.signals.domain.scores import Gain
from servers.signals.domain.walk_forward import WalkForward
from servers.signals.evaluation.comparing import compare
from servers.signals.evaluation.daily import (
    DailyOptions,
    Features,
    build_features,
    build_panel,
    cut_nanos,
    sessions_with_posts,
)
from servers.signals.evaluation.files import Posts, Prices
from servers.signals.evaluation.study import ALL, MAJORITY, MODELS, PRICE_ONLY, Answers, walk
from servers.signals.evaluation.text_features import TextReading

ERASED_SESSIONS = 3
IMPLAUSIBLE_GAIN = 0.10
"""A gain whose whole interval lies above this is a reason to look for a leak."""
NULL_DRAWS = 20
COARSE_REFIT_DAYS = 20
Steps = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Audit:
    """One audit: what was done, what was found, and whether that is as it must be.

    `changed_figures`: features that changed when the future was erased, of `checked_figures`.
    `flagged_by`: which of the checks saw something: `erasure`, `gain`.
    """

    name: str
    is_leak_planted: bool
    relative_gain: float
    low: float
    high: float
    changed_figures: int
    checked_figures: int
    flagged_by: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Return whether a planted leak was flagged, or an honest study was not."""
        return bool(self.flagged_by) == self.is_leak_planted

    def to_json(self) -> dict[str, Any]:
        """Return the audit for a file."""
        figures = asdict(self) | {"flagged_by": list(self.flagged_by), "holds": self.holds}
        for name in ("low", "high"):
            figures[name] = figures[name] if np.isfinite(figures[name]) else None
        return figures


@dataclass(frozen=True, slots=True)
class Material:
    """What a study rests on."""

    prices: Prices
    posts: Posts
    reading: TextReading
    options: DailyOptions
    scheme: WalkForward

    def coarse(self) -> WalkForward:
        """Return a walk with fewer refits, for what is run many times."""
        return replace(self.scheme, refit_days=max(COARSE_REFIT_DAYS, self.scheme.refit_days))


def erased_changes(material: Material, features: Features, options: DailyOptions) -> tuple[int, int]:
    """Rebuild some sessions with everything after their cut erased; return figures changed and checked."""
    begin, end = sessions_with_posts(material.prices, material.posts, options.margin_seconds)
    sessions = np.linspace(begin, end - 2, ERASED_SESSIONS + 2).astype(int)[1:-1]
    cuts = cut_nanos(material.prices, options.margin_seconds)
    changed = checked = 0
    for session in sessions.tolist():
        rebuilt = build_features(
            material.prices.until(session),
            material.posts.until(int(cuts[session])),
            material.reading,
            options,
        )
        for group, values in features.values.items():
            same = np.isclose(
                values[session], rebuilt.values[group][session], rtol=1e-9, atol=1e-9, equal_nan=True
            )
            changed += int((~same).sum())
            checked += same.size
    return changed, checked


def gain_of_posts(panel: Panel, scheme: WalkForward) -> Gain:
    """Return what the model with everything gains over the better of majority and price-only."""
    answers: dict[str, Answers] = {
        model: walk(panel, MODELS[model], scheme) for model in (MAJORITY, PRICE_ONLY, ALL)
    }
    return compare("audit", panel, answers).gains[ALL]


def run_audits(material: Material, features: Features, panel: Panel, on_step: Steps) -> list[Audit]:
    """Audit the study itself, with shuffled labels, and with two planted leaks."""
    coarse = material.coarse()
    options = material.options
    found = []
    on_step("audit: the study, with the future erased")
    found.append(
        _audit("the study", False, gain_of_posts(panel, coarse), erased_changes(material, features, options))
    )
    on_step("audit: shuffled labels")
    found.append(
        _audit(
            "shuffled labels", False, gain_of_posts(shuffled(panel, seed=7), coarse), (0, 0), any_gain=True
        )
    )
    for name, posts_ahead, prices_ahead in (("same-day posts", 1, 0), ("future-shifted features", 1, 1)):
        on_step(f"audit: {name}")
        leaky = replace(options, leak_posts_sessions=posts_ahead, leak_prices_sessions=prices_ahead)
        built = build_features(material.prices, material.posts, material.reading, leaky)
        # Leaked prices would improve the comparator too: the leak is measured against an honest one.
        leaking = build_panel(material.prices, built, leaky, int(panel.day.min()))
        found.append(
            _audit(
                name, True, _gain_over_honest(panel, leaking, coarse), erased_changes(material, built, leaky)
            )
        )
    return found


def _gain_over_honest(honest: Panel, leaking: Panel, scheme: WalkForward) -> Gain:
    answers = {model: walk(honest, MODELS[model], scheme) for model in (MAJORITY, PRICE_ONLY)}
    answers[ALL] = walk(leaking, MODELS[ALL], scheme)
    return compare("audit", honest, answers).gains[ALL]


def _audit(
    name: str, is_leak_planted: bool, gain: Gain, erased: tuple[int, int], any_gain: bool = False
) -> Audit:
    changed, checked = erased
    bound = 0.0 if any_gain else IMPLAUSIBLE_GAIN
    flags = ("erasure",) * (changed > 0) + ("gain",) * bool(gain.relative.low > bound)
    return Audit(
        name,
        is_leak_planted,
        gain.relative.value,
        gain.relative.low,
        gain.relative.high,
        changed,
        checked,
        flags,
    )


def shuffled(panel: Panel, seed: int) -> Panel:
    """Return the panel with the outcomes of whole days dealt to other days, each day's rows mixed."""
    chance = np.random.default_rng(seed)
    days = np.unique(panel.day)
    by_day = [panel.moves[panel.day == day] for day in days]
    order = chance.permutation(len(days))
    moves = np.empty_like(panel.moves)
    for at, day in enumerate(days):
        rows = panel.day == day
        moves[rows] = chance.choice(by_day[order[at]], size=int(rows.sum()))
    return panel.with_moves(moves)


def null_control(
    panel: Panel, scheme: WalkForward, on_step: Steps, draws: int = NULL_DRAWS
) -> dict[str, Any]:
    """Move all posts by a random number of sessions, many times: how often does a gain seem to be there?

    Prices and outcomes stay as they are, and posts keep their own ups and downs; only what they could know of
    the price is gone. The nominal rate of a positive finding at 5 %, two-sided, is 2.5 %.
    """
    honest = {model: walk(panel, MODELS[model], scheme) for model in (MAJORITY, PRICE_ONLY)}
    days = np.unique(panel.day)
    least = max(1, len(days) // 8)
    chance = np.random.default_rng(11)
    found, gains = 0, []
    for draw in range(draws):
        on_step(f"null control {draw + 1} of {draws}")
        moved = _posts_moved(panel, int(chance.integers(least, len(days) - least)))
        gain = compare("null control", panel, honest | {ALL: walk(moved, MODELS[ALL], scheme)}).gains[ALL]
        found += gain.p_value < 0.05 and gain.relative.value > 0
        gains.append(gain.relative.value)
    return {
        "draws": draws,
        "found": int(found),
        "nominal_rate": 0.025,
        "rate": found / draws,
        "chance_of_so_many": _binomial_tail(draws, int(found), 0.025),
        "mean_relative_gain": float(np.mean(gains)),
        "holds": _binomial_tail(draws, int(found), 0.025) > 0.01,
    }


def _posts_moved(panel: Panel, sessions: int) -> Panel:
    """Return the panel with the posts' features of another session, wrapped round; NaN without any."""
    days, index = np.unique(panel.day, return_inverse=True)
    place = np.zeros(len(panel), dtype=np.int64)
    starts = np.searchsorted(panel.day, days)
    place = np.arange(len(panel)) - starts[index]
    widest = int(place.max()) + 1
    blocks = dict(panel.blocks)
    for group in (Group.NEWS, Group.SOCIAL):
        block = panel.blocks[group]
        grid: Doubles = np.full((len(days), widest, len(block.names)), np.nan)
        grid[index, place] = block.values
        blocks[group] = FeatureBlock(block.names, np.roll(grid, sessions, axis=0)[index, place])
    return panel.with_blocks(blocks)


def _binomial_tail(draws: int, found: int, rate: float) -> float:
    from math import comb

    return float(sum(comb(draws, k) * rate**k * (1 - rate) ** (draws - k) for k in range(found, draws + 1)))
