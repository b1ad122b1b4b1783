"""Volume and price of many symbols, day by day and bin by bin: what every forecast is fitted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from servers.model.calendar import Session

if TYPE_CHECKING:  # pyarrow comes with it, and a server that fits on bars of its own has no use for that
    from servers.recordings import RecordedBars

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Panel:
    """Symbols by sessions by bins.

    Attributes:
        symbols: names, in the order of the first axis.
        sessions: oldest first, in the order of the second axis.
        bin_counts: bins of each session; the third axis is as long as the longest, the rest of a half day is
        0.
        volumes: shares traded.
        prices: volume-weighted mean price of each bin, NaN where nothing traded.
    """

    symbols: tuple[str, ...]
    sessions: tuple[Session, ...]
    bin_counts: npt.NDArray[np.int64]
    volumes: Doubles
    prices: Doubles

    @property
    def day_volumes(self) -> Doubles:
        """Return the volume of every symbol (rows) on every session (columns)."""
        total: Doubles = self.volumes.sum(axis=2)
        return total

    @property
    def is_whole(self) -> npt.NDArray[np.bool_]:
        """Return for every session whether it is as long as the longest."""
        whole: npt.NDArray[np.bool_] = self.bin_counts == self.volumes.shape[2]
        return whole

    def before(self, day: int) -> Panel:
        """Return the sessions before `day`: all that may be known before it opens."""
        return Panel(
            self.symbols,
            self.sessions[:day],
            self.bin_counts[:day],
            self.volumes[:, :day],
            self.prices[:, :day],
        )

    def only(self, days: npt.NDArray[np.intp]) -> Panel:
        """Return the panel of some of the sessions."""
        return Panel(
            self.symbols,
            tuple(self.sessions[day] for day in days),
            self.bin_counts[days],
            self.volumes[:, days],
            self.prices[:, days],
        )

    @classmethod
    def from_bars(
        cls, bars: Mapping[str, RecordedBars], sessions: Sequence[Session], bin_nanos: int
    ) -> Panel:
        """Return the panel of recorded bars; what lies outside the sessions is left out.

        A bar counts in the bin that holds its start; its price is its VWAP, (high + low + close) / 3 where
        the file has none. The last bin of a session may be shorter than `bin_nanos`.
        """
        symbols = tuple(sorted(bars))
        counts = np.array([-(-session.length_nanos // bin_nanos) for session in sessions], np.int64)
        shape = (len(symbols), len(sessions), int(counts.max(initial=0)))
        volumes, notional = np.zeros(shape), np.zeros(shape)
        opens = np.array([session.open_time_nanos for session in sessions], np.int64)
        closes = np.array([session.close_time_nanos for session in sessions], np.int64)
        for row, symbol in enumerate(symbols):
            mine = bars[symbol]
            day = np.searchsorted(opens, mine.start_nanos, side="right") - 1
            inside = (day >= 0) & (mine.start_nanos < closes[day])
            at = day[inside], (mine.start_nanos[inside] - opens[day[inside]]) // bin_nanos
            volume = mine.volume[inside]
            np.add.at(volumes[row], at, volume)
            np.add.at(notional[row], at, volume * _bar_prices(mine)[inside])
        prices = np.divide(notional, volumes, out=np.full(shape, np.nan), where=volumes > 0)
        return cls(symbols, tuple(sessions), counts, volumes, prices)


def _bar_prices(bars: RecordedBars) -> Doubles:
    typical = (bars.high_nanos + bars.low_nanos + bars.close_nanos) / 3.0
    return np.where(bars.vwap_nanos > 0, bars.vwap_nanos, typical) / 1e9
