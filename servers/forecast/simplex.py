"""Minimise a function of a few numbers without derivatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from servers.forecast.history import Doubles

FIRST_STEP = 0.5
MAX_STEPS = 2_000
SMALLEST_SIZE = 1e-3


def minimise(
    function: Callable[[Doubles], float], start: Doubles, tolerance: float
) -> tuple[Doubles, float, bool]:
    """Return (point, value, whether it converged) of a minimum near `start` (Nelder and Mead 1965).

    It has converged when the corners of the simplex lie within SMALLEST_SIZE of each other, and their values
    within `tolerance`.
    """
    corners = np.vstack([start, start + FIRST_STEP * np.eye(len(start))])
    values = np.array([function(corner) for corner in corners])
    for _ in range(MAX_STEPS):
        order = np.argsort(values, kind="stable")
        corners, values = corners[order], values[order]
        if values[-1] - values[0] < tolerance and float(np.ptp(corners, axis=0).max()) < SMALLEST_SIZE:
            return corners[0], float(values[0]), True
        middle = corners[:-1].mean(axis=0)
        tried = middle + (middle - corners[-1])
        value = function(tried)
        if value < values[0]:
            further = middle + 2 * (middle - corners[-1])
            further_value = function(further)
            if further_value < value:
                tried, value = further, further_value
        elif value >= values[-2]:
            inwards = 0.5 if value < values[-1] else -0.5
            tried = middle + inwards * (middle - corners[-1])
            value = function(tried)
            if value >= values[-1]:
                corners = corners[0] + 0.5 * (corners - corners[0])
                values = np.array([function(corner) for corner in corners])
                continue
        corners[-1], values[-1] = tried, value
    best = int(np.argmin(values))
    return corners[best], float(values[best]), False
