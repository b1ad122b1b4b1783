"""Journals of earlier releases still mean what they meant: one a release, kept as it was written.

A file holds the journal's records, one JSON object a line (bytes in hex), and in its last line the decisions
that they make. To add one for a release, run this file as a program with the release's name.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from tapeline.decision.v1 import decision_pb2

from servers.decision import wire
from servers.decision.domain.book import DecisionBook
from servers.decision.domain.decision import Mode, ModeChange
from servers.journal import Head, Record
from servers.journal.record import verify
from servers.model.errors import DeadlineExceeded
from servers.model.nanos import NANO
from servers.model.order import Rejection
from tests.unit.decision.decision_desk import Desk
from tests.unit.decision.figures import MINUTE, signal

FOLDER = Path(__file__).with_name("golden")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.jsonl")), ids=lambda path: path.stem)
def test_a_journal_of_an_earlier_release_gives_the_same_decisions(path: Path) -> None:
    *lines, expected = map(json.loads, path.read_text().splitlines())
    records = [
        Record(**{**line, "payload": bytes.fromhex(line["payload"]), "hash": bytes.fromhex(line["hash"])})
        for line in lines
    ]
    assert facts_of(records) == expected


def test_there_is_a_journal_to_replay() -> None:
    assert list(FOLDER.glob("*.jsonl"))


def facts_of(records: list[Record]) -> dict[str, Any]:
    """Return the decisions and figures that records make, after their chain is verified."""
    book = DecisionBook(ModeChange(Mode.APPROVAL, "settings"))
    for record in verify(records, Head()):
        book.apply(wire.event_from_wire(decision_pb2.DecisionEvent.FromString(record.payload)))
    return {
        "decisions": [MessageToDict(wire.decision_to_wire(one)) for one in book.decisions.values()],
        "mode": MessageToDict(wire.mode_change_to_wire(book.mode)),
        "declined": dict(book.declined),
        "ledgers": {
            name: [str(ledger.cash_attos), str(ledger.turnover_attos), ledger.orders, ledger.hits]
            for name, ledger in book.ledgers.items()
        },
    }


async def write_golden(release: str) -> None:
    """Lead some decisions through everything that can happen and keep the journal of it."""
    desk = Desk(Mode.APPROVAL)
    await desk.open()
    await desk.engine.on_signal(signal(12.0, traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01"))
    await desk.later(6)
    await desk.engine.on_signal(
        signal(90.0, event_time_nanos=desk.market.now_nanos, price_only_probability_up=0.8)
    )
    await desk.engine.reject("r1", desk.last.decision_id, "anna")
    await desk.later(31)
    await desk.engine.on_signal(signal(80.0, event_time_nanos=desk.market.now_nanos))
    await desk.engine.approve("a1", desk.orders[-1].decision_id, "anna")
    await desk.fill(desk.orders[-1], 1_000)
    await desk.engine.set_mode("m1", Mode.AUTOPILOT, "ops", "a calm day")
    await desk.engine.on_signal(signal(-80.0, event_time_nanos=desk.market.now_nanos + 1))
    await desk.facts(desk.account.end(desk.orders[-1].execution_id, desk.market.now_nanos))
    await desk.later(40, mid=51 * NANO)
    desk.account.failures.append(DeadlineExceeded("DEADLINE_TOO_SHORT"))
    desk.account.rejection = Rejection(
        "GROSS_EXPOSURE_ABOVE_LIMIT", "too much", "max_gross_exposure", "2", "1"
    )
    await desk.engine.on_signal(
        signal(70.0, event_time_nanos=desk.market.now_nanos, half_life_nanos=9 * MINUTE)
    )
    await desk.engine.send_again()
    await desk.engine.set_mode("m2", Mode.APPROVAL, "ops", "enough")
    await desk.later(20, mid=51 * NANO)
    await desk.engine.on_signal(signal(70.0, event_time_nanos=desk.market.now_nanos))
    await desk.later(40, mid=51 * NANO)
    await desk.engine.propose("p1", "BOLT", is_dry_run=False)
    records = list(desk.disk.records)
    await desk.close()
    lines = [
        {**record._asdict(), "payload": record.payload.hex(), "hash": record.hash.hex()} for record in records
    ]
    FOLDER.mkdir(exist_ok=True)
    content = [*lines, facts_of(records)]
    (FOLDER / f"{release}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in content))


if __name__ == "__main__":
    asyncio.run(write_golden(sys.argv[1]))
