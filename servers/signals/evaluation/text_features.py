"""What the posts of one channel said of each stock-day: how many, how positive, in which words.

Tone comes from a word list; words are weighed by what prices did after them, by naive Bayes on sessions that
were over: counts only, so that a refit at every session costs one row of additions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from servers.signals.domain.panel import Doubles, Int64s

NAMES = (
    "voices", "voices_surprise", "tone", "tone_change", "disagreement", "market_tone", "words",
)  # fmt: skip
SHRINKAGE = 3.0
"""A tone counts as if so many voices had said nothing beside it."""
WORD_BINS = 2**13
WORD_PRIOR = 20.0
TRAILING_SESSIONS = 20
FIRST_SESSIONS = 40
"""Words are not weighed before so many sessions with posts were over."""


@dataclass(frozen=True, slots=True)
class TextReading:
    """What each distinct text says by itself: its tone, -1 to 1, and its words, texts by bins (sparse)."""

    tones: Doubles
    words: Any


@dataclass(frozen=True, slots=True)
class Channel:
    """Posts of one channel: the stock-day (session x symbols + symbol), the text, and two weights of each.

    `weight` says how much its tone counts; `voice` is 1 by the number of posts of its author that day.
    """

    shape: tuple[int, int]
    cell: Int64s
    text: Int64s
    weight: Doubles
    voice: Doubles


def read_words(texts: Sequence[str]) -> Any:
    """Return texts by hashed words and pairs of words, 1 where one occurs. Nothing is fitted."""
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(
        n_features=WORD_BINS,
        alternate_sign=False,
        norm=None,
        binary=True,
        ngram_range=(1, 2),
        # Cashtags and handles name companies and people; they are no words.
        token_pattern=r"(?<![$@#\w])[a-z][a-z'-]{2,}",  # noqa: S106 (no password)
    )
    return vectorizer.transform(texts)


def channel_features(
    channel: Channel, reading: TextReading, moves: Doubles, horizon_sessions: int
) -> tuple[tuple[str, ...], Doubles]:
    """Return names and values, sessions by symbols by names."""
    size = channel.shape[0] * channel.shape[1]

    def total(weights: Doubles) -> Doubles:
        sums: Doubles = np.bincount(channel.cell, weights=weights, minlength=size).astype(np.float64)
        return sums.reshape(channel.shape)

    tones = reading.tones[channel.text]
    mass = total(channel.weight)
    voices = np.log1p(total(channel.voice))
    tone = total(channel.weight * tones) / (mass + SHRINKAGE)
    square = total(channel.weight * tones**2) / (mass + SHRINKAGE)
    disagreement = np.sqrt(np.maximum(square - tone**2, 0.0))
    market = tone.mean(axis=1, keepdims=True)
    values = np.stack(
        (
            voices,
            voices - _trailing_mean(voices),
            tone,
            tone - _trailing_mean(tone),
            disagreement,
            np.broadcast_to(market, channel.shape),
            _word_scores(channel, reading, moves, horizon_sessions),
        ),
        axis=-1,
    )
    return NAMES, values


def _trailing_mean(values: Doubles) -> Doubles:
    """Return the mean over the sessions before each, at most `TRAILING_SESSIONS`; 0 for the first."""
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    at = np.arange(len(values))
    since = np.maximum(at - TRAILING_SESSIONS, 0)
    mean: Doubles = (sums[at] - sums[since]) / np.maximum(at - since, 1)[:, None]
    return mean


def _word_scores(channel: Channel, reading: TextReading, moves: Doubles, horizon_sessions: int) -> Doubles:
    """Return the mean log-likelihood ratio of a stock-day's words, learnt from moves that were over.

    The move is taken against the day's median, so that words are not blamed for what the market did. A
    session's move starts at the next open: at the cut of session s the moves of sessions up to
    s - horizon - 1 are over.
    """
    from scipy import sparse

    sessions, symbols = channel.shape
    scores = np.zeros(channel.shape)
    if len(channel.cell) == 0:
        return scores
    size = sessions * symbols
    pick = sparse.csr_matrix((channel.voice, (channel.cell, channel.text)), shape=(size, len(reading.tones)))
    words = sparse.csr_matrix(pick @ reading.words)
    with np.errstate(invalid="ignore"):
        median = np.array(
            [np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else 0.0 for row in moves]
        )
        better = moves > median[:, None]
    known = np.isfinite(moves)
    rises, falls = np.zeros(WORD_BINS), np.zeros(WORD_BINS)
    first = int(channel.cell.min()) // symbols
    for session in range(first, sessions):
        learnt = session - horizon_sessions - 1
        if learnt >= first:
            rows = words[learnt * symbols : (learnt + 1) * symbols]
            rises += np.asarray(rows.T @ (better[learnt] & known[learnt]).astype(np.float64)).ravel()
            falls += np.asarray(rows.T @ (~better[learnt] & known[learnt]).astype(np.float64)).ravel()
        if learnt - first < FIRST_SESSIONS:
            continue
        base = (rises.sum() + 1.0) / (falls.sum() + 1.0)
        both = rises + falls
        share = base / (1.0 + base)
        # Each word's odds are drawn towards the odds of all words.
        ratio = np.log((rises + WORD_PRIOR * share) / (falls + WORD_PRIOR * (1.0 - share))) - np.log(base)
        ratio[both == 0.0] = 0.0
        rows = words[session * symbols : (session + 1) * symbols]
        lengths = np.asarray(rows.sum(axis=1)).ravel()
        scores[session] = np.asarray(rows @ ratio).ravel() / np.sqrt(lengths + 10.0)
    return scores
