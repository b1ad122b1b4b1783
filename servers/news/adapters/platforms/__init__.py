"""Posts of real platforms, each through its own client library, within its limits."""
