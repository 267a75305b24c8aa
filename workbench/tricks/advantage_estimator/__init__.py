"""How advantages and value targets are estimated."""
