"""Pure values, rules and errors that every server shares. No I/O, no clock, no protobuf."""
