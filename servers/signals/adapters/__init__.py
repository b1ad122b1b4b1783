"""The servers that signals asks, and the trained model on disk."""
