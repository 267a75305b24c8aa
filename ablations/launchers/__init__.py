"""Where workers run: processes on this machine, or actors on a Ray cluster."""
