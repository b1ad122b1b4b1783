"""What news meets outside of it: sources, intelligence, market_data, the store."""
