"""Technical indicators by TA-Lib, through its abstract API."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from servers.market_data.domain import IndicatorSpec
from servers.market_data.history import Doubles
from servers.market_data.indicators import BarSeries, IndicatorOutputs
from servers.model.errors import InvalidInput

_PRICES = {"open", "high", "low", "close", "volume"}


class TalibIndicators:
    """`servers.market_data.ports.Indicators` over TA-Lib, which is imported when the first one is asked for.

    Functions of one price read the close; functions of two prices (CORREL, BETA, ADD) read high and low,
    as TA-Lib's abstract API does. Recursive ones (EMA, RSI) depend on where the bars begin.
    """

    def lookback(self, spec: IndicatorSpec) -> int:
        return int(self._function(spec).lookback)

    def compute(self, spec: IndicatorSpec, bars: BarSeries) -> IndicatorOutputs:
        function = self._function(spec)
        inputs = {
            "open": bars.open,
            "high": bars.high,
            "low": bars.low,
            "close": bars.close,
            "volume": bars.volume,
        }
        if not len(bars.close):
            return {output: np.empty(0) for output in function.output_names}
        values = function(inputs)
        outputs = [values] if len(function.output_names) == 1 else list(values)
        lookback = min(int(function.lookback), len(bars.close))
        return {
            name: _as_doubles(column, lookback)
            for name, column in zip(function.output_names, outputs, strict=True)
        }

    def _function(self, spec: IndicatorSpec) -> Any:
        import talib
        from talib import abstract

        name = spec.name
        if name not in talib.get_functions():  # type: ignore[no-untyped-call]
            raise InvalidInput("INDICATOR_UNKNOWN", f"TA-Lib has no {name[:40]!r}", indicator=name[:40])
        function = abstract.Function(name)  # type: ignore[attr-defined]  # made at import
        if not _is_of_bars(function.input_names):
            raise InvalidInput(
                "INDICATOR_UNKNOWN", f"{name} reads a series that bars do not have", indicator=name
            )
        defaults = function.parameters
        parameters: dict[str, float | int] = {}
        for key, value in spec.parameters.items():
            if key not in defaults:
                raise _wrong(name, key, f"is none of {', '.join(sorted(defaults)) or 'nothing'}")
            if not math.isfinite(value):
                raise _wrong(name, key, f"is {value}")
            if isinstance(defaults[key], int):
                if value != int(value) or abs(value) > 100_000:
                    raise _wrong(name, key, f"is {value}, not a whole number up to 100,000")
                parameters[key] = int(value)
            else:
                parameters[key] = value
        function.set_parameters(parameters)
        if function.lookback < 0:  # TA-Lib's word for a value outside its range
            raise InvalidInput(
                "FIELD_INVALID", f"{name} cannot take {parameters}", field="parameters", indicator=name
            )
        return function


def _is_of_bars(inputs: Any) -> bool:
    for key, value in inputs.items():
        names = [value] if isinstance(value, str) else list(value)
        if key == "periods" or not set(names) <= _PRICES:
            return False
    return True


def _as_doubles(column: Any, lookback: int) -> Doubles:
    # Integer outputs (candlestick patterns) are 0 in the warm-up: said as NaN like the others.
    values = np.array(column, np.float64)
    values[:lookback] = np.nan
    return values


def _wrong(name: str, parameter: str, why: str) -> InvalidInput:
    return InvalidInput(
        "FIELD_INVALID",
        f"{name}: parameter {parameter[:40]!r} {why}",
        field=f"parameters.{parameter[:40]}",
        indicator=name,
    )
