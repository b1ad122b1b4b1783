"""The rules of the ledger as plain values: trades, adjustments, positions."""
