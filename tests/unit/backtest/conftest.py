"""A small market of two symbols, in a bars file and in a trades file."""

from pathlib import Path

import numpy as np
import pytest

from servers.calendars import Calendars
from servers.model.calendar import Session

SESSIONS = 24
MINUTES = 390


@pytest.fixture(scope="session")
def calendars() -> Calendars:
    return Calendars()


@pytest.fixture(scope="session")
def sessions(calendars: Calendars) -> tuple[Session, ...]:
    first = calendars.session_for("XNYS", "2024-01-02")
    assert first is not None
    end = first.open_time_nanos + 60 * 86_400 * 10**9
    return calendars.sessions_between("XNYS", first.open_time_nanos, end)[:SESSIONS]


def bars_text(sessions: tuple[Session, ...], seed: int = 3) -> list[str]:
    """Return the lines of a bars file: a U-shaped day, a random walk, some minutes without a trade."""
    generator = np.random.default_rng(seed)
    lines = ["symbol,start_time_ms,open,high,low,close,vwap,volume"]
    shape = 1.0 + 2.0 * np.linspace(-1, 1, MINUTES) ** 2
    for symbol, price in (("AAA", 100.0), ("BBB", 40.0)):
        for session in sessions:
            level = float(np.exp(generator.normal(0, 0.3)))
            for minute in range(MINUTES):
                if generator.random() < 0.05:
                    continue
                opens, closes = price, price * float(np.exp(generator.normal(0, 4e-4)))
                high, low = max(opens, closes) * 1.0002, min(opens, closes) * 0.9998
                price = closes
                vwap = low + (high - low) * float(generator.uniform(0.2, 0.8))
                volume = int(generator.gamma(2.0, 400.0) * shape[minute] * level) + 1
                start = session.open_time_nanos // 10**6 + minute * 60_000
                lines.append(
                    f"{symbol},{start},{opens:.4f},{high:.4f},{low:.4f},{closes:.4f},{vwap:.4f},{volume}"
                )
    return lines


@pytest.fixture(scope="session")
def bars_lines(sessions: tuple[Session, ...]) -> list[str]:
    return bars_text(sessions)


@pytest.fixture(scope="session")
def bars_file(bars_lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bars") / "bars.csv"
    path.write_text("\n".join(bars_lines) + "\n")
    return path


@pytest.fixture(scope="session")
def train_until(sessions: tuple[Session, ...]) -> str:
    return sessions[-3].date
