"""Backtests: schedules replayed over recorded markets, with costs, studies and reports."""
