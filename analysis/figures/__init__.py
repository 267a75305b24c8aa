"""What the figures are drawn of and with; `analysis.plots` lists them by name."""
