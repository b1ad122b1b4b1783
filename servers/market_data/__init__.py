"""Quotes, the session's tape, bars, volume, indicators and reference data, over the venue's feed (8001)."""
