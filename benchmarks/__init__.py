"""Measure every claim of speed or size: one runnable module a claim, `python -m benchmarks NAME`."""
