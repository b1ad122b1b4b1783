"""The rules: pure, synchronous, without a clock."""
