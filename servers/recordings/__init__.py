"""Recorded market data in files: trades and bars, and which prints count (a library that servers use)."""

from servers.recordings.bars import RecordedBars, load_bars
from servers.recordings.profile import FeedProfile, load_profile, profile_for
from servers.recordings.trades import RecordedTrades, load_trades

__all__ = [
    "FeedProfile",
    "RecordedBars",
    "RecordedTrades",
    "load_bars",
    "load_profile",
    "load_trades",
    "profile_for",
]
