"""Contract tests over the registry, and golden numbers of every trick."""
