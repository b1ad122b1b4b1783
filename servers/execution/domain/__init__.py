"""Parent orders as pure values and rules: no clock, no I/O, no protobuf."""
