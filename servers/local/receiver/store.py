"""Spans in a SQLite file: written by the receiver, read by `tapeline trace`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS spans (
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    parent_span_id TEXT NOT NULL,
    service TEXT NOT NULL,
    name TEXT NOT NULL,
    start_nanos INTEGER NOT NULL,
    end_nanos INTEGER NOT NULL,
    is_error INTEGER NOT NULL,
    execution_id TEXT NOT NULL,
    attributes TEXT NOT NULL,
    PRIMARY KEY (trace_id, span_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS spans_by_execution ON spans (execution_id) WHERE execution_id <> '';
CREATE INDEX IF NOT EXISTS spans_by_start ON spans (start_nanos);
"""
EXECUTION_ATTRIBUTE = "execution_id"


@dataclass(frozen=True, slots=True)
class Span:
    """One span as it was received. Ids are lower-case hexadecimal; times are UTC epoch nanoseconds."""

    trace_id: str
    span_id: str
    parent_span_id: str
    service: str
    name: str
    start_nanos: int
    end_nanos: int
    is_error: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)


class SpanStore:
    """A bounded store of spans. Not synced: a power failure may take the last ones."""

    def __init__(self, path: Path, max_spans: int = 500_000) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=OFF")
        self._connection.executescript(_SCHEMA)
        self._max_spans = max_spans
        self._since_trim = 0

    def add(self, spans: Iterable[Span]) -> int:
        """Keep `spans` and return how many there were; a span that is sent again replaces itself."""
        rows = [
            (
                span.trace_id,
                span.span_id,
                span.parent_span_id,
                span.service,
                span.name,
                span.start_nanos,
                span.end_nanos,
                span.is_error,
                span.attributes.get(EXECUTION_ATTRIBUTE, ""),
                json.dumps(dict(span.attributes)),
            )
            for span in spans
        ]
        self._connection.execute("BEGIN")
        try:
            self._connection.executemany("INSERT OR REPLACE INTO spans VALUES (?,?,?,?,?,?,?,?,?,?)", rows)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._since_trim += len(rows)
        if self._since_trim > self._max_spans // 10:
            self._trim()
        return len(rows)

    def of_trace(self, trace_id: str) -> list[Span]:
        """Return the spans of one trace, by start."""
        rows = self._connection.execute(
            "SELECT span_id, parent_span_id, service, name, start_nanos, end_nanos, is_error, attributes"
            " FROM spans WHERE trace_id = ? ORDER BY start_nanos, span_id",
            (trace_id,),
        )
        return [
            Span(trace_id, span_id, parent, service, name, start, end, bool(failed), json.loads(attributes))
            for span_id, parent, service, name, start, end, failed, attributes in rows
        ]

    def traces_of_execution(self, execution_id: str) -> list[str]:
        """Return the ids of the traces that carry `execution_id`, oldest first."""
        rows = self._connection.execute(
            "SELECT trace_id FROM spans WHERE execution_id = ? GROUP BY trace_id ORDER BY MIN(start_nanos)",
            (execution_id,),
        )
        return [row[0] for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _trim(self) -> None:
        """Drop the oldest spans above the bound."""
        self._since_trim = 0
        (count,) = self._connection.execute("SELECT COUNT(*) FROM spans").fetchone()
        if count > self._max_spans:
            self._connection.execute(
                "DELETE FROM spans WHERE start_nanos <= "
                "(SELECT start_nanos FROM spans ORDER BY start_nanos LIMIT 1 OFFSET ?)",
                (count - self._max_spans - 1,),
            )
