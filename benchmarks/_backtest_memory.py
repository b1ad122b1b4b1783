"""Backtest one trades file in a process of its own and print its peak memory, its rows and its CPU time."""

import json
import resource
import sys
import time
from pathlib import Path

from servers.backtest.options import BacktestOptions
from servers.backtest.running import run_backtest
from servers.backtest.tape import TapeFile
from servers.calendars import Calendars


def main() -> None:
    """Parse, then backtest: TWAP orders of 5 % with every placement, cap and cost scale."""
    path = Path(sys.argv[1])
    calendars = Calendars()
    calendars.session_for("XNYS", "2024-01-02")
    began = time.process_time()
    rows = sum(len(part.times) for part in TapeFile(path, False, "XNYS", calendars).prints())
    parsing = time.process_time() - began
    run_backtest(
        BacktestOptions(path, False, "XNYS", ("twap",), train_until=sys.argv[2], sizes=(0.05,)),
        calendars=calendars,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sys.stdout.write(json.dumps({"peak_bytes": peak, "rows": rows, "parsing_seconds": parsing}) + "\n")


if __name__ == "__main__":
    main()
