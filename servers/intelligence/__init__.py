"""Every question to the LLM: sentiment, regime, roll-out, and the answer when it cannot be asked."""
