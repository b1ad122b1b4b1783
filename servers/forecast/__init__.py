"""Forecasts of intraday and daily volume, fitted on the past (a library that servers use)."""

from servers.forecast.daily import DailyVolumeModel
from servers.forecast.history import Panel
from servers.forecast.walk import DayForecasts, WalkForward

__all__ = ["DailyVolumeModel", "DayForecasts", "Panel", "WalkForward"]
