"""The practice exchange: a limit order book with simulated or recorded flow. It owns market time."""
