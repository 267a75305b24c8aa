"""Which responses the update learns from."""
