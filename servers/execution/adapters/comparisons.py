"""Protobuf of comparisons."""

from __future__ import annotations

from tapeline.execution.v1 import comparison_pb2, execution_pb2

from servers.execution import wire
from servers.execution.comparing import Comparison
from servers.tca import Difference, Group


def comparison_to_wire(comparison: Comparison) -> comparison_pb2.Comparison:
    experiment = comparison.experiment
    return comparison_pb2.Comparison(
        groups=[_group_to_wire(one) for one in comparison.groups],
        differences=[_difference_to_wire(one) for one in comparison.differences],
        parent_count=comparison.order_count,
        session_count=comparison.session_count,
        left_out_count=comparison.left_out_count,
        experiment=None if experiment is None else wire.experiment_to_wire(experiment),
        note=comparison.note,
    )


def _group_to_wire(group: Group) -> comparison_pb2.CostGroup:
    return comparison_pb2.CostGroup(
        dimension=comparison_pb2.CostDimension.ValueType(group.dimension),
        bucket=group.bucket,
        algorithm=_algorithm(group.algorithm),
        parent_count=group.order_count,
        mean_shortfall_bps=group.mean_shortfall_bps,
        median_shortfall_bps=group.median_shortfall_bps,
        mean_tracking_error_bps=group.mean_tracking_error_bps,
        median_tracking_error_bps=group.median_tracking_error_bps,
        p95_tracking_error_bps=group.p95_tracking_error_bps,
        mean_filled_share=group.mean_filled_share,
    )


def _difference_to_wire(one: Difference) -> comparison_pb2.CostDifference:
    interval, always = one.interval_bps or (None, None), one.always_bps or (None, None)
    return comparison_pb2.CostDifference(
        dimension=comparison_pb2.CostDimension.ValueType(one.dimension),
        bucket=one.bucket,
        measure=comparison_pb2.CostMeasure.ValueType(one.measure),
        first=_algorithm(one.first),
        second=_algorithm(one.second),
        difference_bps=one.difference_bps,
        interval_low_bps=interval[0],
        interval_high_bps=interval[1],
        always_low_bps=always[0],
        always_high_bps=always[1],
        p_value=one.p_value,
        detectable_bps=one.detectable_bps,
        first_count=one.first_count,
        second_count=one.second_count,
        session_count=one.session_count,
        verdict=comparison_pb2.ComparisonVerdict.ValueType(one.verdict),
        message=one.message,
    )


def _algorithm(name: str) -> execution_pb2.Algorithm.ValueType:
    return execution_pb2.Algorithm.Value(f"ALGORITHM_{name.upper()}")
