"""Where and when volume traded: the profile of a stretch of tape, and the curve of earlier sessions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from native.volume_profile import PriceProfile, static_curve
from servers.market_data.domain import VolumeCurve, VolumeProfile
from servers.market_data.history import BarColumns
from servers.market_data.tape import Columns
from servers.model.calendar import Session
from servers.model.errors import InvalidInput

MAX_PROFILE_ROWS = 10_000
MEDIAN_SESSIONS = 20


def volume_profile(prints: Columns, step_nanos: int, value_area_share: float) -> VolumeProfile:
    """Return volume by price row, `step_nanos` high, and the rows around the peak that hold the share.

    Raises InvalidInput VALUE_OUT_OF_RANGE when there would be more than 10,000 rows with volume.
    """
    profile = PriceProfile(step_nanos)
    try:
        profile.add(prints.price_nanos.data, prints.size_nanos.data)
    except ValueError as error:
        raise _too_many_rows(step_nanos) from error
    prices, volumes = profile.volumes()
    traded = volumes > 0
    if int(traded.sum()) > MAX_PROFILE_ROWS:
        raise _too_many_rows(step_nanos)
    area = profile.value_area_nanos(value_area_share)
    low, high = (area[0], area[1] + step_nanos) if area is not None else (0, 0)
    return VolumeProfile(
        tuple(prices[traded].tolist()),
        tuple(volumes[traded].tolist()),
        profile.point_of_control_nanos() or 0,
        low,
        high,
    )


def volume_curve(
    bars: BarColumns,
    earlier: Sequence[Session],
    present_length_nanos: int,
    bin_nanos: int,
    session_count: int,
) -> VolumeCurve:
    """Return the mean share of volume by bin over the last `session_count` of the earlier sessions.

    A session's share is its bin's volume over its own total, so that a busy day weighs no more than a
    quiet one. Half days and days without volume are left out (all earlier sessions count when only half
    days are there). When the present session is shorter than the ordinary one, the curve is cut to its
    length and scaled to sum to 1. The median is that of the total volume of the last 20 such sessions.
    """
    edges = [
        (session, *np.searchsorted(bars.start_nanos, (session.open_time_nanos, session.close_time_nanos)))
        for session in earlier
    ]
    volumes = [(session, first, end, float(bars.volume[first:end].sum())) for session, first, end in edges]
    with_volume = [entry for entry in volumes if entry[3] > 0]
    full = [entry for entry in with_volume if not entry[0].is_half_day] or with_volume
    if not full:
        return VolumeCurve((), bin_nanos, 0, 0.0)
    median = float(np.median([total for *_, total in full[-MEDIAN_SESSIONS:]]))
    used = full[-session_count:]
    length_nanos = max(session.length_nanos for session, *_ in used)
    bin_count = -(-length_nanos // bin_nanos)
    rows = np.zeros((len(used), bin_count))
    for row, (session, first, end, _) in enumerate(used):
        bins = (bars.start_nanos[first:end] - session.open_time_nanos) // bin_nanos
        np.add.at(rows[row], bins, bars.volume[first:end])
    shares = np.asarray(static_curve(rows.data, len(used)))
    if 0 < present_length_nanos < length_nanos:
        shares = shares[: -(-present_length_nanos // bin_nanos)]
        total = float(shares.sum())
        shares = shares / total if total > 0 else np.full(len(shares), 1 / len(shares))
    return VolumeCurve(tuple(shares.tolist()), bin_nanos, len(used), median)


def _too_many_rows(step_nanos: int) -> InvalidInput:
    return InvalidInput(
        "VALUE_OUT_OF_RANGE",
        f"more than {MAX_PROFILE_ROWS} rows: choose a larger price_step_nanos than {step_nanos}",
        field="price_step_nanos",
        bound=MAX_PROFILE_ROWS,
    )
