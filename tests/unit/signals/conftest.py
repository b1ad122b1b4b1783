"""Files in the StockNet formats with a stated relation between posts and prices."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

NEW_YORK = ZoneInfo("America/New_York")
SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")


def weekdays(count: int, start: date = date(2014, 1, 2)) -> list[date]:
    found: list[date] = []
    day = start
    while len(found) < count:
        if day.weekday() < 5:
            found.append(day)
        day += timedelta(days=1)
    return found


def write_market(
    folder: Path, *, sessions: int, edge: float, seed: int = 1, outlet_share: float = 0.3
) -> tuple[Path, Path]:
    """Write tweets and prices; posts say the next session's move rightly with probability 0.5 + edge."""
    chance = np.random.default_rng(seed)
    days = weekdays(sessions)
    rows = ["symbol,date,open,high,low,close,adj_close,volume"]
    posts: list[dict[str, object]] = []
    for symbol in SYMBOLS:
        price = 50.0
        gaps, moves = 0.004 * chance.standard_normal(sessions), 0.012 * chance.standard_normal(sessions)
        for at, day in enumerate(days):
            opened = price * np.exp(gaps[at])
            price = opened * np.exp(moves[at])
            low, high = min(opened, price) * 0.995, max(opened, price) * 1.005
            volume = int(1e6 * np.exp(0.3 * chance.standard_normal()))
            rows.append(
                f"{symbol},{day},{opened:.6f},{high:.6f},{low:.6f},{price:.6f},{price / 2:.6f},{volume}"
            )
            if at + 1 == sessions:
                continue
            says_rise = (moves[at + 1] > 0) == (chance.random() < 0.5 + edge)
            for number in range(3):
                moment = datetime(day.year, day.month, day.day, 11 + number, 5, tzinfo=NEW_YORK)
                word = "strong upgrade buy" if says_rise else "weak downgrade sell"
                posts.append(
                    {
                        "created_at": moment.strftime("%a %b %d %H:%M:%S %z %Y"),
                        "text": f"${symbol} {word} note {at} {number}",
                        "symbols": [symbol],
                        "user": f"author{chance.integers(50)}",
                        "followers": int(chance.integers(2_000)),
                        "source": "Seeking Alpha" if chance.random() < outlet_share else "web",
                    }
                )
    chance.shuffle(posts)
    tweets, prices = folder / "tweets.jsonl.gz", folder / "prices.csv"
    with gzip.open(tweets, "wt") as file:
        file.writelines(json.dumps(post) + "\n" for post in posts)
    prices.write_text("\n".join(rows) + "\n")
    return tweets, prices


def tone(text: str) -> float:
    return 1.0 if "buy" in text else -1.0 if "sell" in text else 0.0


@pytest.fixture
def market(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    return lambda **how: write_market(tmp_path, **how)
