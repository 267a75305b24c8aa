"""Which monitor warns of a collapse, how early, and of which runs under way: docs/warnings.md."""
