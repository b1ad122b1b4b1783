"""Train the model of the simulated market.

The committed one: `python -m servers.signals.training --effect-bps 60 --sessions 100 --out FILE`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from servers.signals.training.fit import train
from servers.signals.training.world import WorldOptions


def main() -> None:
    """Train, write the model, say what came out."""
    parser = argparse.ArgumentParser(description="Train the model of the simulated market.")
    parser.add_argument("--out", type=Path, required=True, help="file of the model, JSON")
    parser.add_argument("--effect-bps", type=float, required=True, help="planted; 0 for none")
    parser.add_argument("--sessions", type=int, default=120)
    parser.add_argument("--symbols", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--name", default="simulated")
    asked = parser.parse_args()

    def say(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    options = WorldOptions(asked.effect_bps, asked.sessions, asked.symbols, asked.seed)
    model = train(asked.name, options, lambda done: say(f"\r{done} of {asked.sessions} sessions"))
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(model.to_json(), indent=1) + "\n", encoding="utf-8")
    say(f"\n{model.version}: {model.description}\nwritten to {asked.out}\n")


if __name__ == "__main__":
    main()
