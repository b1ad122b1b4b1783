"""The peers' side of the backtest benchmark; runs in `.venv-peers-backtest`, one round for every line.

Both replay the columns of the file that the benchmark wrote, in the form that each keeps in memory, made
beforehand. NautilusTrader sends a market order on every so many ticks, as a strategy does; hftbacktest, whose
orders meet trades in a queue, a limit order that the next trade fills. NautilusTrader gets the first part of
the columns: it needs so long for all.
"""

import json
import sys
import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.int64]
EVERY = (1_000, 10)
NAUTILUS_EVENTS = {1_000: 100_000, 10: 10_000}


class Peer(Protocol):
    """A library that is measured."""

    def run(self, every: int) -> tuple[float, int, int]:
        """Return CPU seconds, events and fills of a replay with an order for every so many events."""
        ...


class Nautilus:
    """NautilusTrader's BacktestEngine with trade ticks and a strategy that slices at market."""

    def __init__(self, times: Column, prices: Column, sizes: Column) -> None:
        from nautilus_trader.model.data import TradeTick
        from nautilus_trader.model.enums import AggressorSide
        from nautilus_trader.model.identifiers import TradeId
        from nautilus_trader.model.objects import Price, Quantity
        from nautilus_trader.test_kit.providers import TestInstrumentProvider

        self._instrument = TestInstrumentProvider.equity(symbol="AAA", venue="XNAS")
        count = max(NAUTILUS_EVENTS.values())
        sides = (AggressorSide.BUYER, AggressorSide.SELLER)
        self._ticks = [
            TradeTick(
                self._instrument.id,
                Price(price / 1e9, 2),
                Quantity.from_int(size // 10**9),
                sides[i % 2],
                TradeId(str(i)),
                moment,
                moment,
            )
            for i, (moment, price, size) in enumerate(
                zip(times[:count].tolist(), prices[:count].tolist(), sizes[:count].tolist(), strict=True)
            )
        ]

    def run(self, every: int) -> tuple[float, int, int]:
        """Return CPU seconds, events and fills."""
        from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
        from nautilus_trader.config import LoggingConfig
        from nautilus_trader.model.currencies import USD
        from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
        from nautilus_trader.model.identifiers import Venue
        from nautilus_trader.model.objects import Money, Quantity
        from nautilus_trader.trading.strategy import Strategy

        instrument = self._instrument

        class Slicer(Strategy):  # type: ignore[misc]  # the peer carries no types here
            def __init__(self) -> None:
                super().__init__()
                self.seen = self.filled = 0

            def on_start(self) -> None:
                self.subscribe_trade_ticks(instrument.id)

            def on_trade_tick(self, tick: object) -> None:
                self.seen += 1
                if self.seen % every == 0:
                    self.submit_order(
                        self.order_factory.market(instrument.id, OrderSide.BUY, Quantity.from_int(1))
                    )

            def on_order_filled(self, event: object) -> None:
                self.filled += 1

        engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
        engine.add_venue(
            Venue("XNAS"),
            oms_type=OmsType.NETTING,
            account_type=AccountType.MARGIN,
            base_currency=USD,
            starting_balances=[Money(1e10, USD)],
            trade_execution=True,
        )
        engine.add_instrument(instrument)
        events = NAUTILUS_EVENTS[every]
        engine.add_data(self._ticks[:events])
        strategy = Slicer()
        engine.add_strategy(strategy)
        began = time.process_time()
        engine.run()
        seconds = time.process_time() - began
        filled = strategy.filled
        engine.dispose()
        return seconds, events, filled


class HftBacktest:
    """hftbacktest with trade events and a loop that submits at a fixed rate, compiled beforehand."""

    def __init__(self, times: Column, prices: Column, sizes: Column) -> None:
        from hftbacktest import EXCH_EVENT, GTC, LIMIT, LOCAL_EVENT, TRADE_EVENT, event_dtype
        from hftbacktest.types import SELL_EVENT
        from numba import njit

        self._events = np.zeros(len(times), event_dtype)
        self._events["ev"] = TRADE_EVENT | EXCH_EVENT | LOCAL_EVENT | SELL_EVENT
        self._events["exch_ts"] = self._events["local_ts"] = times
        self._events["px"] = prices / 1e9
        self._events["qty"] = sizes / 1e9
        self._gap = int(times[1] - times[0])

        @njit  # type: ignore[untyped-decorator]  # the peer carries no types here
        def slices(backtest: Any, gap: int) -> int:
            sent = 0
            while backtest.elapse(gap) == 0:
                sent += 1
                backtest.submit_buy_order(0, sent, 1_000.0, 1.0, GTC, LIMIT, False)
                backtest.clear_inactive_orders(0)
            return sent

        self._slices = slices
        self.run(1_000)  # compiles

    def run(self, every: int) -> tuple[float, int, int]:
        """Return CPU seconds, events and fills."""
        from hftbacktest import BacktestAsset, ROIVectorMarketDepthBacktest

        asset = (
            BacktestAsset()
            .data([self._events])
            .linear_asset(1.0)
            .constant_order_latency(0, 0)
            .risk_adverse_queue_model()
            .no_partial_fill_exchange()
            .trading_value_fee_model(0, 0)
            .tick_size(0.01)
            .lot_size(1.0)
            .roi_lb(0.0)
            .roi_ub(2_000.0)
            .last_trades_capacity(0)
        )
        backtest = ROIVectorMarketDepthBacktest([asset])
        began = time.process_time()
        self._slices(backtest, self._gap * every)
        seconds = time.process_time() - began
        filled = int(backtest.state_values(0).num_trades)
        backtest.close()
        return seconds, len(self._events), filled


def main() -> None:
    """Answer rounds until the input ends; a library that cannot be used is left out, and said."""
    with np.load(sys.argv[1]) as columns:
        loaded = columns["times"], columns["prices"], columns["sizes"]
    peers: dict[str, Peer] = {}
    for name, make in (("nautilus", Nautilus), ("hftbacktest", HftBacktest)):
        try:
            peers[name] = make(*loaded)
        except Exception as error:  # noqa: BLE001  whatever a library fails with, the others are measured
            sys.stderr.write(f"{name} cannot be measured: {error}\n")
    for _ in sys.stdin:
        answer: dict[str, float] = {}
        for name, peer in peers.items():
            for every in EVERY:
                seconds, events, filled = peer.run(every)
                answer[f"{name}_{every}"] = events / seconds
                answer[f"{name}_{every}_fills"] = filled
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
