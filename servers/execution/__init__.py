"""Parent orders: their schedules, their children, their controls, and what they cost."""
