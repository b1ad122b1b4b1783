"""The same study where the truth is known: worlds in which posts foretell nothing, a little, or much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servers.signals.domain.panel import Doubles, Group, Panel
from servers.signals.domain.walk_forward import WalkForward
from servers.signals.evaluation.audits import Steps, null_control
from servers.signals.evaluation.comparing import ConfigurationLog, compare
from servers.signals.evaluation.study import ALL, MAJORITY, MODELS, PRICE_ONLY, PRIMARY, Answers, walk
from servers.signals.training.world import HORIZON_MINUTES, WorldOptions, simulate

EFFECTS_BPS = {"none": 0.0, "small": 12.0, "target": 28.0}
"""By name, basis points for an event of strength 1."""
DELAY_MINUTES, DRAWS = 20, 2
SESSIONS, SYMBOLS, SEED = 120, 8, 3
SCHEME = WalkForward(first_train_days=15, refit_days=5)
WITH_REGIME = {
    model: (*groups, Group.REGIME) if Group.PRICE in groups else groups for model, groups in MODELS.items()
}


def planted_study(on_step: Steps, sessions: int = SESSIONS, null_draws: int = 20) -> dict[str, Any]:
    """Run the study in three worlds; return what was planted in each and what was found.

    Planted is the gain of one who knows each event and its effect from the moment it happens, over the better
    of majority and price-only: no model of posts can have more. Gains are tested together (Holm).
    """
    log = ConfigurationLog()
    worlds: list[dict[str, Any]] = []
    control: dict[str, Any] = {}
    for name, effect in EFFECTS_BPS.items():
        on_step(f"simulating the world with effect {name}")
        options = WorldOptions(effect, sessions, SYMBOLS, SEED, DELAY_MINUTES, DRAWS)
        world = simulate(options)
        answers = {}
        for model, groups in WITH_REGIME.items():
            on_step(f"world {name}: {model}")
            answers[model] = walk(world.panel, groups, SCHEME)
        table = compare(f"effect {name}", world.panel, answers)
        log.record(PRIMARY.name, table)
        worlds.append(
            {
                "effect": name,
                "effect_bps": effect,
                "planted_relative_gain": _planted(world.panel, world.oracle, answers),
            }
            | {"table": table.to_json(), "found": table.gains[ALL].relative.value}
        )
        if effect == 0.0:
            control = null_control(world.panel, SCHEME, on_step, null_draws)
    entries = log.corrected()
    for world_json in worlds:
        entry = next(
            entry
            for entry in entries
            if entry["model"] == ALL and entry["rows"] == f"effect {world_json['effect']}"
        )
        world_json["corrected_p_value"] = entry["corrected_p_value"]
        world_json["is_found"] = entry["corrected_p_value"] < 0.05 and world_json["found"] > 0
    return {
        "protocol": {
            "sessions": sessions,
            "symbols": SYMBOLS,
            "seed": SEED,
            "delay_minutes": DELAY_MINUTES,
            "draws_of_events": DRAWS,
            "horizon_minutes": HORIZON_MINUTES,
        },
        "worlds": worlds,
        "null_control": control,
        "configurations": entries,
    }


def _planted(panel: Panel, oracle: Doubles, answers: Mapping[str, Answers]) -> float:
    """Return the oracle's gain in accuracy over the better of majority and price-only, on the same rows."""
    known = {model: answers[model] for model in (MAJORITY, PRICE_ONLY)} | {
        ALL: Answers(answers[ALL].asked, oracle)
    }
    return compare("oracle", panel, known).gains[ALL].relative.value
