"""When the rest of a buffer is left alone."""
