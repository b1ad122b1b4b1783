"""Portfolio: positions, cash and profit, exactly from fills and dated adjustments."""
