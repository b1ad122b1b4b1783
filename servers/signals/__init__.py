"""Features, the predictive model, and the honest evaluation of both."""
