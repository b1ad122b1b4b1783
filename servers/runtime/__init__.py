"""What is not business: the gRPC server, client channels, errors, telemetry, settings and security."""
