"""Where the weights start."""
