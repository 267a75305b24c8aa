"""How responses are sampled."""
