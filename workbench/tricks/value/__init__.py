"""How the critic's output becomes a value."""
