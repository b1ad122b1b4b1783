"""`python -m servers.news.labelled`: labelled texts of the simulated world, for `tapeline calibrate`."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from servers.news.adapters.simulated import BOARD, STREAM, WIRE, labelled_texts
from servers.reference import DEFAULT_INSTRUMENTS_FILE, load_instruments


def main() -> None:
    """Write a CSV with the columns text and label."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", choices=(WIRE, BOARD, STREAM), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=600, help="texts; 600 by default")
    parser.add_argument(
        "--seed", type=int, default=20_240_101, help="never the seed of a session that is traded"
    )
    given = parser.parse_args()
    data = load_instruments(DEFAULT_INSTRUMENTS_FILE)
    names = {
        one.symbol: tuple(dict.fromkeys((one.display_name, *one.aliases)))
        for one in data.instruments.values()
    }
    with given.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows(labelled_texts(given.source, names, given.count, given.seed))


if __name__ == "__main__":
    main()
