"""The walk-forward study of what posts add to prices, with its intervals, corrections and audits."""
