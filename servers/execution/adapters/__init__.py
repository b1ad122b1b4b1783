"""What stands behind the ports: gRPC peers, the journal, spans, and the practice market of the tests."""
