"""What the critic is fitted to."""
