"""The mesh's own OTLP receiver: keeps spans in a bounded SQLite file that `tapeline trace` reads."""
