"""The rules of risk as plain values: limits, exposure with reservations, checks, simulation."""
