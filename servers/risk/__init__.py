"""Risk: limits, pre-trade checks with reservations, exposure, value at risk, the kill switch."""
