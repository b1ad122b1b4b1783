"""The expected share of the day's volume in each bin: own history, drawn towards that of all symbols."""

from __future__ import annotations

import numpy as np

from servers.forecast.history import Doubles, Panel

TRAILING_SESSIONS = 60
"""Sessions that a curve is made of."""

POOLED_SESSIONS = 15.0
"""The mean curve of all symbols weighs as much as this many sessions of a symbol's own."""


def pooled_curves(past: Panel, trailing: int = TRAILING_SESSIONS) -> Doubles:
    """Return one curve a symbol (rows), each summing to 1, over the bins of a whole session.

    Half days are left out; of a symbol's sessions one with more than its median volume weighs in inverse
    proportion, because the days of an event have a shape of their own. Few sessions make a noisy curve, so
    each is drawn towards the mean over all symbols (shrinkage with a fixed weight; Efron and Morris 1975). A
    symbol without history gets that mean, and without any history at all the curves are flat.
    """
    days = np.flatnonzero(past.is_whole)[-trailing:]
    volumes = past.volumes[:, days]
    totals = volumes.sum(axis=2)
    traded = totals > 0
    shares = np.divide(volumes, totals[..., None], out=np.zeros_like(volumes), where=traded[..., None])
    usual = np.array([np.median(row[row > 0]) if (row > 0).any() else 1.0 for row in totals])
    weights = np.where(traded, np.minimum(1.0, usual[:, None] / np.maximum(totals, 1e-300)), 0.0)
    bins = past.volumes.shape[2]
    weight = weights.sum(axis=1)
    if not weight.any():
        return np.full((len(past.symbols), bins), 1.0 / bins)
    own = np.einsum("id,idb->ib", weights, shares)
    everyone = (own[weight > 0] / weight[weight > 0][:, None]).mean(axis=0)
    # How many sessions of equal weight say as much as these.
    effective = np.divide(weight**2, (weights**2).sum(axis=1), out=np.zeros_like(weight), where=weight > 0)
    scale = np.divide(effective, weight, out=np.zeros_like(weight), where=weight > 0)
    drawn = own * scale[:, None] + POOLED_SESSIONS * everyone
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))


def cut_to(curves: Doubles, bins: int) -> Doubles:
    """Return the curves of a shorter session: the first `bins` bins, scaled to sum to 1."""
    cut = curves[:, :bins]
    return np.asarray(cut / cut.sum(axis=1, keepdims=True))
