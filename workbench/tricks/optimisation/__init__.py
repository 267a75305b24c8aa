"""Adam's settings, and how a buffer is worked through."""
