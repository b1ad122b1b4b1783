"""What a row is, how a model is fitted on the past alone, and how right it was: pure and synchronous."""
