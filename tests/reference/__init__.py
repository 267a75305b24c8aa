"""Independent reference implementations."""
