"""The order journal, the order state machine, routing to venues, reconciliation."""
