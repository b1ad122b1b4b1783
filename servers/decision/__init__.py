"""What to trade, from signals: targets, orders, approvals, and the record of why."""
