"""Reference data of instruments, read from TOML: a library that market_data and the exchange use."""

from servers.reference.instruments import (
    DEFAULT_INSTRUMENTS_FILE,
    ReferenceData,
    SimulationHints,
    load_instruments,
    recorded_instrument,
)

__all__ = [
    "DEFAULT_INSTRUMENTS_FILE",
    "ReferenceData",
    "SimulationHints",
    "load_instruments",
    "recorded_instrument",
]
