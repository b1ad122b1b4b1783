"""The whole mesh on one machine: supervisor, trace receiver and the `tapeline` command."""
