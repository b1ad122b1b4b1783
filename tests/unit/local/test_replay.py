"""A replay goes on while a parent order is unfinished in it, and starts over otherwise."""

from __future__ import annotations

from pathlib import Path

from tapeline.execution.v1 import execution_pb2

from servers.journal import Entry, Journal
from servers.local.replay import demonstration_folder, recorded_folder, unfinished_parents
from servers.local.up import UpOptions, make_plan
from servers.model.clock import WallClock

RECORDED = Path("day.csv.xz")


def event(execution_id: str, kind: str, state: str) -> Entry:
    message = execution_pb2.ExecutionEvent(
        kind=execution_pb2.ExecutionEventKind.Value(f"EXECUTION_EVENT_KIND_{kind}"),
        execution=execution_pb2.Execution(
            execution_id=execution_id, state=execution_pb2.ExecutionState.Value(f"EXECUTION_STATE_{state}")
        ),
    )
    return Entry("event", message.SerializeToString())


def fail(error: BaseException) -> None:
    raise AssertionError from error


async def journalled(folder: Path, *entries: Entry) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    journal = await Journal.open(
        folder / "journal.db", writer="execution", clock=WallClock(), on_failure=fail
    )
    await journal.append(list(entries))
    await journal.close()


async def test_a_parent_is_unfinished_until_its_report(tmp_path: Path) -> None:
    await journalled(
        tmp_path,
        event("A", "STARTED", "RUNNING"),
        event("B", "STARTED", "RUNNING"),
        event("C", "REJECTED", "REJECTED"),
        event("A", "FINISHED", "FILLED"),
        event("B", "PROGRESS", "FILLED"),
    )
    assert await unfinished_parents(tmp_path) == ["B"]
    assert await unfinished_parents(tmp_path / "elsewhere") == []


async def test_a_replay_with_an_unfinished_parent_goes_on(tmp_path: Path) -> None:
    folder = await recorded_folder(tmp_path, RECORDED, "2013-10-07")
    await journalled(folder / "execution", event("A", "STARTED", "RUNNING"))
    (folder / "mark").touch()
    assert await recorded_folder(tmp_path, RECORDED, "2013-10-07") == folder
    assert (folder / "mark").exists()


async def test_a_finished_replay_starts_over_and_others_are_left_alone(tmp_path: Path) -> None:
    folder = await recorded_folder(tmp_path, RECORDED, "2013-10-07")
    other = await recorded_folder(tmp_path, RECORDED, "2013-10-08")
    for place in (folder, other):
        await journalled(place / "execution", event("A", "FINISHED", "DONE"))
    assert await recorded_folder(tmp_path, RECORDED, "2013-10-07") == folder
    assert not folder.exists()
    assert other.exists()


def test_a_demonstration_takes_an_empty_folder(tmp_path: Path) -> None:
    folder = demonstration_folder(tmp_path)
    (folder / "exchange").mkdir(parents=True)
    assert demonstration_folder(tmp_path) == folder
    assert not folder.exists()


def options(folder: Path, **changes: object) -> UpOptions:
    values: dict[str, object] = {
        "speed": None,
        "recorded": None,
        "symbols": "",
        "date": "",
        "calendar": "XNYS",
        "is_demo": False,
        "exit_after": False,
        "json_path": None,
        "data": folder,
        "port_base": 0,
        "free_run": False,
        "seed": 7,
        "is_verbose": False,
    }
    return UpOptions(**{**values, **changes})  # type: ignore[arg-type] # one dictionary for all types


async def test_the_simulated_market_is_live_and_free_and_the_others_fast_and_held(tmp_path: Path) -> None:
    live = await make_plan(options(tmp_path))
    assert (live.flow, live.settings["exchange"]["speed"], live.settings["exchange"]["hold"]) == (
        "simulated",
        "1",
        "false",
    )
    demo = await make_plan(options(tmp_path, is_demo=True))
    assert (demo.settings["exchange"]["speed"], demo.settings["exchange"]["hold"]) == ("200", "true")
    assert demo.settings["exchange"]["date"], "the demonstration is the same one every day"
    recorded = await make_plan(
        options(tmp_path, recorded=RECORDED, symbols="A,B", date="2013-10-07", speed=50.0)
    )
    exchange = recorded.settings["exchange"]
    assert (recorded.flow, exchange["speed"], exchange["symbols"]) == ("recorded", "50", "A,B")
    assert exchange["recorded_file"] == str(RECORDED.resolve())
    free = await make_plan(options(tmp_path, recorded=RECORDED, free_run=True))
    assert free.settings["exchange"]["hold"] == "false"
