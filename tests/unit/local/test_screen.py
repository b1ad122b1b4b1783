"""Progress and reports as people and programs read them."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

from google.type.decimal_pb2 import Decimal
from google.type.money_pb2 import Money
from rich.console import Console, RenderableType
from tapeline.execution.v1 import execution_pb2
from tapeline.portfolio.v1 import portfolio_service_pb2, position_pb2
from tapeline.trading.v1 import side_pb2

from servers.local.report_file import report_to_json, write_report, write_reports
from servers.local.screen import portfolio_table, progress_line, progress_table, report_panel
from servers.model.nanos import NANO

NEW_YORK = "America/New_York"


def running() -> execution_pb2.Execution:
    return execution_pb2.Execution(
        execution_id="01J0",
        parameters=execution_pb2.ExecutionParameters(
            account="demo",
            symbol="ACME",
            side=side_pb2.SIDE_BUY,
            quantity_nanos=50_000 * NANO,
            algorithm=execution_pb2.ALGORITHM_STATIC_VWAP,
            max_participation_rate=0.1,
        ),
        state=execution_pb2.EXECUTION_STATE_RUNNING,
        filled_quantity_nanos=12_500 * NANO,
        scheduled_quantity_nanos=13_000 * NANO,
        average_price_nanos=50_123_400_000,
        interval_vwap_nanos=50_100_000_000,
        slippage_vwap_bps=4.67,
        participation_rate=0.0432,
        event_time_nanos=1381152600 * NANO,
    )


def report() -> execution_pb2.ExecutionReport:
    done = running()
    done.state = execution_pb2.EXECUTION_STATE_DONE
    return execution_pb2.ExecutionReport(
        execution=done,
        benchmarks=[
            execution_pb2.Benchmark(
                name="interval_vwap",
                price_nanos=50_100_000_000,
                price=50.1,
                slippage_bps=4.67,
                slippage=Money(currency_code="USD", units=292, nanos=500_000_000),
            ),
            execution_pb2.Benchmark(
                name="close", price=math.nan, slippage_bps=math.nan, note="not known yet"
            ),
        ],
        shortfall=execution_pb2.Shortfall(total=Decimal(value="292.5"), currency_code="USD"),
        residual_quantity_nanos=37_500 * NANO,
        residual_reason="PARTICIPATION_CAP",
        residual_message="at the cap of 10 % in 40 of 48 windows",
        interval_trade_count=1234,
        interval_volume=2_000_000,
        eligibility_rule="regular session",
    )


def text(renderable: RenderableType) -> str:
    file = io.StringIO()
    Console(file=file, width=220, color_system=None).print(renderable)
    return file.getvalue()


def test_progress_tells_how_far_it_is_and_what_it_pays() -> None:
    shown = text(progress_table([running()], NEW_YORK))
    for words in (
        "09:30:00",
        "BUY 50,000 ACME static_vwap",
        "RUNNING",
        "25.0%",
        "26.0%",
        "50.1234",
        "+4.67",
        "4.32%",
    ):
        assert words in shown
    line = progress_line(running(), NEW_YORK)
    assert "12,500 of 50,000" in line


def test_a_report_names_the_residual_the_rule_and_what_is_not_known() -> None:
    shown = text(report_panel(report(), NEW_YORK))
    for words in (
        "37,500: PARTICIPATION_CAP. at the cap",
        "regular session",
        "1,234 prints",
        "292.50 USD",
        "not known yet",
    ):
        assert words in shown
    assert "nan" not in shown.lower()


def test_a_portfolio_shows_positions_and_cash() -> None:
    portfolio = portfolio_service_pb2.GetPortfolioResponse(
        positions=[
            position_pb2.Position(
                symbol="ACME", quantity_nanos=-5 * NANO, fees=Money(units=1, nanos=250_000_000)
            )
        ],
        cash=[position_pb2.CashBalance(amount=Money(currency_code="USD", units=-3, nanos=-500_000_000))],
    )
    shown = text(portfolio_table(portfolio))
    for words in ("ACME", "-5", "1.25", "cash -3.50 USD"):
        assert words in shown


def test_the_file_has_the_main_figures_first_and_null_for_what_is_not_known(tmp_path: Path) -> None:
    write_report(tmp_path / "new" / "one.json", report())
    one = json.loads((tmp_path / "new" / "one.json").read_text())
    assert one == json.loads(json.dumps(report_to_json(report())))
    assert (one["side"], one["algorithm"], one["state"]) == ("BUY", "static_vwap", "DONE")
    assert one["quantity_nanos"] == 50_000 * NANO
    assert one["interval_vwap"] == 50.1
    assert one["report"]["benchmarks"][1]["slippage_bps"] is None
    write_reports(tmp_path / "all.json", [report(), execution_pb2.ExecutionReport()])
    both = json.loads((tmp_path / "all.json").read_text())["executions"]
    assert [item["interval_vwap"] for item in both] == [50.1, None]


def test_a_report_shows_quality_markouts_and_the_forecast_and_leaves_out_what_it_has_not() -> None:
    plain = text(report_panel(report(), NEW_YORK))
    assert "markout" not in plain
    assert "quality" not in plain
    full = report()
    full.volume_forecast = "fitted on 60 earlier sessions"
    full.markouts.append(
        execution_pb2.Markout(
            horizon_nanos=10 * NANO, cost_bps=-0.5, maker_bps=-1.25, taker_bps=math.nan, fill_count=40
        )
    )
    full.quality.CopyFrom(
        execution_pb2.QualityScore(
            tracking=0.72, completion=1.0, conformance=0.96, score=68.4, control_count=50, note="50 controls"
        )
    )
    shown = text(report_panel(full, NEW_YORK))
    told = ("fitted on 60 earlier sessions", "68 of 100", "tracking 0.72", "shortfall unknown", "50 controls")
    for part in told:
        assert part in shown
    row = next(line for line in shown.splitlines() if line.strip().startswith("10 s"))
    assert row.split() == ["10", "s", "-0.50", "-1.25", "-", "40"]


def test_a_parent_out_of_its_band_is_marked() -> None:
    execution = running()
    execution.alerts.append("SCHEDULE")
    assert "RUNNING SCHEDULE" in text(progress_table([execution], NEW_YORK))
    assert progress_line(execution, NEW_YORK).endswith("ALERT SCHEDULE")
