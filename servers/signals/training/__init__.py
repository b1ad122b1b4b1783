"""The recipe of the model for the simulated market: its world, its fit, its scores."""
