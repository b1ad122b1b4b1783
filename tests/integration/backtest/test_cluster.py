"""The same jobs on a Dask cluster of two processes."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from servers.backtest import jobs
from servers.backtest.options import BacktestOptions
from servers.backtest.running import run_backtest
from servers.calendars import Calendars


def write_bars(path: Path) -> str:
    """Write three sessions of two symbols; return the date of the second."""
    calendars = Calendars()
    start = calendars.session_for("XNYS", "2024-03-04")
    assert start is not None
    sessions = calendars.sessions_between(
        "XNYS", start.open_time_nanos, start.open_time_nanos + 3 * 86_400 * 10**9
    )
    generator = np.random.default_rng(1)
    lines = ["symbol,start_time_ms,open,high,low,close,volume"]
    for symbol in ("AAA", "BBB"):
        for session in sessions:
            for minute in range(390):
                price = 50.0 + float(generator.uniform(-0.1, 0.1))
                volume = int(generator.integers(100, 1_000))
                time = session.open_time_nanos // 10**6 + minute * 60_000
                lines.append(
                    f"{symbol},{time},{price:.3f},{price + 0.02:.3f},{price - 0.02:.3f},{price:.3f},{volume}"
                )
    path.write_text("\n".join(lines) + "\n")
    return sessions[1].date


# Dask's own loop and sockets are closed by its threads, after the test.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.processes
def test_a_cluster_gives_what_one_process_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = importlib.import_module("distributed")
    monkeypatch.setattr(jobs, "SYMBOLS_PER_JOB", 1)
    path = tmp_path / "bars.csv"
    until = write_bars(path)
    options = BacktestOptions(
        path, True, "XNYS", ("twap", "static_vwap"), train_until=until, sizes=(0.05,), step_seconds=300.0
    )
    alone = run_backtest(options)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        shared = run_backtest(options, cluster=cluster.scheduler_address)
    assert alone.sized is not None
    assert shared.sized is not None
    assert shared.sized.results == alone.sized.results
    assert len(alone.sized.results) == 2
