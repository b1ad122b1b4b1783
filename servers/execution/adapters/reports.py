"""Protobuf and domain of execution reports, both ways."""

from __future__ import annotations

from decimal import Context, Decimal

from google.type.money_pb2 import Money as WireMoney
from tapeline.execution.v1 import execution_pb2

from native.slippage import Shortfall
from servers.execution.domain.quality import Markout, Quality
from servers.execution.domain.report import Benchmark, ExecutionReport
from servers.model.nanos import Money
from servers.wire.money import attos_to_decimal, money_from_wire, money_to_wire

_MARKOUT_FIELDS = ("horizon_nanos", "cost_bps", "maker_bps", "taker_bps", "fill_count")
_REPORT_SAME_NAME = (
    "residual_quantity_nanos",
    "residual_reason",
    "residual_message",
    "interval_volume",
    "interval_trade_count",
    "interval_start_time_nanos",
    "interval_end_time_nanos",
    "eligibility_rule",
    "peak_window_participation_rate",
    "duration_nanos",
    "fill_count",
    "child_count",
    "impact_model",
    "fallback",
    "own_fills_in_benchmark",
    "interval_vwap_other",
    "maker_quantity_nanos",
    "taker_quantity_nanos",
    "auction_quantity_nanos",
    "volume_forecast",
    "interval_volatility",
)


def report_to_wire(
    report: ExecutionReport, execution: execution_pb2.Execution
) -> execution_pb2.ExecutionReport:
    """Return a report of a parent order that is shown as `execution`."""
    costs, code = report.shortfall, report.currency_code
    return execution_pb2.ExecutionReport(
        execution=execution,
        benchmarks=[
            execution_pb2.Benchmark(
                name=benchmark.name,
                price_nanos=benchmark.price_nanos,
                price=benchmark.price,
                slippage_bps=benchmark.slippage_bps,
                slippage=money_to_wire(Money(code, benchmark.slippage_attos)),
                note=benchmark.note,
            )
            for benchmark in report.benchmarks
        ],
        shortfall=execution_pb2.Shortfall(
            delay=attos_to_decimal(costs.delay_e18),
            spread=attos_to_decimal(costs.spread_e18),
            impact=attos_to_decimal(costs.impact_e18),
            timing=attos_to_decimal(costs.timing_e18),
            opportunity=attos_to_decimal(costs.opportunity_e18),
            fees=attos_to_decimal(costs.fees_e18),
            total=attos_to_decimal(costs.total_e18),
            currency_code=code,
        ),
        fees=money_to_wire(Money(code, costs.fees_e18)),
        markouts=[
            execution_pb2.Markout(**{field: getattr(markout, field) for field in _MARKOUT_FIELDS})
            for markout in report.markouts
        ],
        quality=None if report.quality is None else _quality_to_wire(report.quality),
        **{field: getattr(report, field) for field in _REPORT_SAME_NAME},
    )


def report_from_wire(message: execution_pb2.ExecutionReport) -> ExecutionReport:
    """Return a report that this server wrote."""
    costs = message.shortfall
    parts = (costs.delay, costs.spread, costs.impact, costs.timing, costs.opportunity, costs.fees)
    return ExecutionReport(
        benchmarks=tuple(
            Benchmark(
                benchmark.name,
                benchmark.price_nanos,
                benchmark.price,
                benchmark.slippage_bps,
                _attos(benchmark.slippage),
                benchmark.note,
            )
            for benchmark in message.benchmarks
        ),
        shortfall=Shortfall(*(_decimal_attos(part.value) for part in parts)),
        currency_code=costs.currency_code,
        participation_rate=message.execution.participation_rate,
        markouts=tuple(
            Markout(**{field: getattr(markout, field) for field in _MARKOUT_FIELDS})
            for markout in message.markouts
        ),
        quality=_quality_from_wire(message.quality) if message.HasField("quality") else None,
        **{field: getattr(message, field) for field in _REPORT_SAME_NAME},
    )


def _quality_to_wire(quality: Quality) -> execution_pb2.QualityScore:
    return execution_pb2.QualityScore(
        tracking=quality.tracking,
        shortfall=quality.shortfall,
        completion=quality.completion,
        conformance=quality.conformance,
        score=quality.score,
        control_count=quality.control_count,
        note=quality.note,
    )


def _quality_from_wire(message: execution_pb2.QualityScore) -> Quality:
    return Quality(
        message.tracking if message.HasField("tracking") else None,
        message.shortfall if message.HasField("shortfall") else None,
        message.completion,
        message.conformance,
        message.control_count,
        message.note,
    )


def _attos(message: WireMoney) -> int:
    return money_from_wire(message, "slippage").attos


def _decimal_attos(text: str) -> int:
    return int(Decimal(text).scaleb(18, Context(prec=60)))
