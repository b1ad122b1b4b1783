"""What the exchange reaches the outside through."""
