"""A log line says which server, trace and call it belongs to."""

import io
import json
import logging

import pytest

from servers.runtime.call import CURRENT_CALL, Call
from servers.runtime.logs import make_log, route_library_logs
from servers.runtime.tracing import Tracer


def test_a_json_line_carries_server_trace_method_and_identity() -> None:
    out = io.StringIO()
    log = make_log("orders", "json", stream=out)
    with Tracer(None).start_span("work") as span:
        call = Call("/a.B/C", span, float("inf"))
        call.identity = "execution"
        token = CURRENT_CALL.set(call)
        log.info("order accepted", order_id="o-1")
        CURRENT_CALL.reset(token)
    line = json.loads(out.getvalue())
    timestamp = line.pop("timestamp")
    assert timestamp.endswith("Z")
    assert line == {
        "event": "order accepted",
        "level": "info",
        "server": "orders",
        "order_id": "o-1",
        "trace_id": span.trace_id,
        "method": "/a.B/C",
        "identity": "execution",
    }


def test_lines_below_the_level_are_left_out() -> None:
    out = io.StringIO()
    log = make_log("orders", "json", "warning", out)
    log.info("quiet")
    log.warning("loud")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["loud"]


def test_what_is_no_terminal_gets_json_and_the_console_form_is_for_the_eye() -> None:
    automatic, console = io.StringIO(), io.StringIO()
    make_log("orders", "auto", stream=automatic).info("hello", a=1)
    make_log("orders", "console", stream=console).info("hello", a=1)
    assert json.loads(automatic.getvalue())["a"] == 1
    assert "hello" in console.getvalue()
    assert "a=1" in console.getvalue()


def test_an_exception_is_logged_with_its_trace() -> None:
    for log_format in ("json", "console"):
        out = io.StringIO()
        try:
            raise ValueError("broken")
        except ValueError as error:
            make_log("orders", log_format, stream=out).error("failed", exc_info=error)
        assert "ValueError: broken" in out.getvalue()


def test_library_logs_go_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    monkeypatch.setattr(root, "level", root.level)
    out = io.StringIO()
    route_library_logs(make_log("orders", "json", stream=out))
    logging.getLogger("some.library").warning("odd %s", "thing")
    logging.getLogger("some.library").info("chatter")
    line = json.loads(out.getvalue())
    assert (line["event"], line["logger"], line["level"]) == ("odd thing", "some.library", "warning")
