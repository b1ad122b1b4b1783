"""`tapeline evaluate`: what posts add to prices on files of tweets and daily prices, without flattery."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from servers.local.screen import terminal

EXIT_FAILED = 1
METRICS = ("accuracy", "balanced_accuracy", "mcc", "auc")


def evaluate(
    tweets: Annotated[
        Path | None, typer.Option("--tweets", help="Tweets, JSON lines (.gz, .xz).", dir_okay=False)
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option("--prices", help="Daily prices, CSV (.gz, .xz).", dir_okay=False),
    ] = None,
    margin: Annotated[
        int,
        typer.Option(
            "--margin", help="Minutes before 16:00 New York at which posts are cut.", min=1, max=390
        ),
    ] = 15,
    simulated: Annotated[
        bool,
        typer.Option("--simulated", help="Instead of files: worlds whose planted effect is known."),
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="The tables alone: no other configurations, no audits.")
    ] = False,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the findings as JSON.", dir_okay=False)
    ] = None,
) -> None:
    """Measure walk-forward what posts add to prices, with intervals, audits and a null control."""
    # scikit-learn takes two seconds to import: the other commands do not wait for it.
    from servers.model.errors import TapelineError

    console = terminal()
    try:
        if simulated and not (tweets or prices):
            finding = _evaluate_worlds(console)
        elif tweets and prices and not simulated:
            finding = _evaluate_files(console, tweets, prices, margin, quick)
        else:
            raise typer.BadParameter("name both files, --tweets FILE --prices FILE, or --simulated alone")
    except TapelineError as error:
        typer.echo(f"tapeline: {error.reason}: {error.message}", err=True)
        raise typer.Exit(EXIT_FAILED) from None
    if json_path:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(finding, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _evaluate_worlds(console: Console) -> dict[str, Any]:
    # Only the threads of libraries that are loaded can be limited.
    import sklearn.linear_model  # noqa: F401
    from threadpoolctl import threadpool_limits

    from servers.signals.evaluation.planted import planted_study

    with threadpool_limits(1), _steps(console) as on_step:
        finding = planted_study(on_step)
    console.print(worlds_table(finding))
    console.print(_control_text(finding["null_control"]), soft_wrap=True)
    return finding


def worlds_table(finding: Mapping[str, Any]) -> Table:
    """Return what was planted in each world and what was found."""
    protocol = finding["protocol"]
    shown = Table(
        title=f"worlds with a known effect: {protocol['symbols']} symbols, {protocol['sessions']} sessions, "
        f"{protocol['horizon_minutes']} minutes ahead; gains over max(majority, price-only)",
        title_justify="left",
    )
    for heading in ("effect", "bps", "planted, %", "news_only, %", "social_only, %", "all, %", "p", "found"):
        shown.add_column(heading, justify="left" if heading == "effect" else "right", no_wrap=True)
    for world in finding["worlds"]:
        gains = world["table"]["gains"]
        shown.add_row(
            world["effect"],
            f"{world['effect_bps']:g}",
            f"{100 * world['planted_relative_gain']:.1f}",
            *(
                _with_interval(gains[model]["relative_accuracy"], 1, 100.0)
                for model in ("news_only", "social_only", "all")
            ),
            _figure(world["corrected_p_value"], 3),
            "yes" if world["is_found"] else "no",
        )
    return shown


def _evaluate_files(console: Console, tweets: Path, prices: Path, margin: int, quick: bool) -> dict[str, Any]:
    # Only the threads of libraries that are loaded can be limited.
    import sklearn.ensemble  # noqa: F401
    from threadpoolctl import threadpool_limits

    from servers.intelligence.adapters.files import load_lexicon
    from servers.signals.evaluation.daily import DailyOptions
    from servers.signals.evaluation.evaluate import EvaluationOptions
    from servers.signals.evaluation.evaluate import evaluate as study

    lexicon = load_lexicon()

    def tone(text: str) -> float:
        total, count = lexicon.weigh(text)
        return math.tanh(total / (1.5 * math.sqrt(count))) if count else 0.0

    options = EvaluationOptions(tweets, prices, DailyOptions(margin_seconds=60 * margin), quick)
    # Small products: more threads only wait for each other.
    with threadpool_limits(1), _steps(console) as on_step:
        finding = study(options, tone, on_step)
    for part in finding_tables(finding.json):
        console.print(part, soft_wrap=isinstance(part, str))
    return finding.json


@contextmanager
def _steps(console: Console) -> Iterator[Any]:
    """Show what is being done: one line that changes on a terminal, a line a stage in a file."""
    if console.is_terminal:
        with console.status("") as status:
            yield lambda step: status.update(step)
        return
    said: set[str] = set()

    def say(step: str) -> None:
        stage = step.split(":")[0].rstrip("0123456789 of")
        if stage not in said:
            said.add(stage)
            console.print(step, highlight=False)

    yield say


def finding_tables(finding: Mapping[str, Any]) -> Sequence[Table | str]:
    """Return what is printed of a study: its data, its tables, its audits, and the verdict in words."""
    data = finding["data"]
    parts: list[Table | str] = [
        (
            f"{data['stock_days']:,} stock-days of {data['symbols']} symbols in "
            f"{data['sessions_with_posts']} sessions; {data['posts_read']:,} posts; of those that name a "
            f"symbol {data['share_of_news']:.1%} are by news outlets or quote them"
        )
    ]
    if not finding["news_only_available"]:
        parts.append("news_only is not available: too few posts are by news outlets, or quote them")
    for table in finding["tables"]:
        parts += [_scores_table(table), _gains_table(table)]
    if "audits" in finding:
        parts += [_configurations_table(finding["configurations"]), _audits_table(finding["audits"])]
        parts.append(_control_text(finding["null_control"]))
    parts.append(verdict_text(finding["target"], finding["tables"][0]["comparator"]))
    return parts


def _control_text(control: Mapping[str, Any]) -> str:
    return (
        f"null control: posts moved in time, {control['draws']} times: {control['found']} gains found "
        f"(nominal {control['nominal_rate']:.1%}), mean gain {control['mean_relative_gain']:+.1%}"
    )


def _scores_table(table: Mapping[str, Any]) -> Table:
    shown = Table(
        title=f"{table['title']}: {table['stock_days']:,} rows, {table['days']} days, "
        f"{table['share_of_rises']:.1%} rose; 95 % intervals clustered by day",
        title_justify="left",
    )
    for heading in ("model", "accuracy", "balanced accuracy", "MCC", "AUC", "ECE"):
        shown.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    for model, figures in table["models"].items():
        shown.add_row(
            model,
            *(_with_interval(figures[name], 3) for name in METRICS),
            f"{figures['expected_calibration_error']:.3f}",
        )
    return shown


def _gains_table(table: Mapping[str, Any]) -> Table:
    shown = Table(title=f"gain over {table['comparator']} (accuracy) and {table['mcc_comparator']} (MCC)")
    shown.title_justify = "left"
    for heading in ("model", "relative accuracy, %", "p", "MCC", "p"):
        shown.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    for model, gain in table["gains"].items():
        shown.add_row(
            model,
            _with_interval(gain["relative_accuracy"], 1, 100.0),
            _figure(gain["p_value"], 3),
            _with_interval(gain["mcc"], 3),
            _figure(gain["mcc_p_value"], 3),
        )
    return shown


def _configurations_table(entries: Sequence[Mapping[str, Any]]) -> Table:
    shown = Table(title="every configuration tried, corrected for all of them (Holm)", title_justify="left")
    for heading in ("configuration", "rows", "model", "gain, %", "p", "corrected", "MCC", "p", "corrected"):
        shown.add_column(
            heading, justify="left" if heading in ("configuration", "rows", "model") else "right"
        )
    for entry in entries:
        shown.add_row(
            entry["configuration"],
            "all" if entry["rows"].startswith("all") else "moves",
            entry["model"],
            f"{100 * entry['relative_accuracy_gain']:+.1f}",
            _figure(entry["p_value"], 3),
            _figure(entry["corrected_p_value"], 3),
            f"{entry['mcc_gain']:+.3f}",
            _figure(entry["mcc_p_value"], 3),
            _figure(entry["corrected_mcc_p_value"], 3),
        )
    return shown


def _audits_table(audits: Sequence[Mapping[str, Any]]) -> Table:
    shown = Table(
        title="audits for leakage: a planted leak must be flagged, nothing else", title_justify="left"
    )
    for heading in (
        "audit",
        "leak planted",
        "gain, %",
        "figures changed by erasing the future",
        "flagged by",
        "holds",
    ):
        shown.add_column(heading, justify="left" if heading == "audit" else "right")
    for audit in audits:
        figure = {"value": audit["relative_gain"], "low": audit["low"], "high": audit["high"]}
        shown.add_row(
            audit["name"],
            "yes" if audit["is_leak_planted"] else "no",
            _with_interval(figure, 1, 100.0),
            f"{audit['changed_figures']:,} of {audit['checked_figures']:,}"
            if audit["checked_figures"]
            else "",
            ", ".join(audit["flagged_by"]) or "nothing",
            "yes" if audit["holds"] else "NO",
        )
    return shown


def verdict_text(target: Mapping[str, Any], comparator: str) -> str:
    """Return how the finding stands against the target, with interval and power."""
    gain = f"all against {comparator}: {100 * target['relative_gain']:+.1f} % relative accuracy"
    if target["interval"][0] is None:
        return f"{gain}; too few days for an interval. The target of 12 to 18 % is not judged."
    low, high = (100 * bound for bound in target["interval"])
    text = f"{gain} (95 %: {low:+.1f} to {high:+.1f} %), "
    text += (
        "significant after correction. " if target["is_significant"] else "not significant after correction. "
    )
    text += f"The target of {100 * target['target_low']:.0f} to {100 * target['target_high']:.0f} % "
    if target["holds"]:
        text += "is reached: look for a leak first. "
    else:
        text += "is excluded by the interval. " if target["target_is_excluded"] else "is not reached. "
    text += (
        f"These data would find a true gain of 12 % with a chance of {target['power_at_target_low']:.0%}, "
        f"one of 3 % with {target['power_at_3_percent']:.0%}; the smallest found four times out of five is "
        f"{100 * target['smallest_gain_found_at_80_percent']:.1f} %."
    )
    return text


def _with_interval(figure: Mapping[str, float | None], places: int, factor: float = 1.0) -> str:
    value = _figure(figure["value"], places, factor)
    if figure["low"] is None:
        return value
    return f"{value} [{_figure(figure['low'], places, factor)}, {_figure(figure['high'], places, factor)}]"


def _figure(value: float | None, places: int, factor: float = 1.0) -> str:
    return "" if value is None else f"{factor * value:.{places}f}"
