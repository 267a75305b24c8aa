"""Learning rates over the iterations."""
