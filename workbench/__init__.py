"""The library: tricks, recipes and the RLHF pipeline. Importing it loads neither torch nor MLflow."""

__version__ = "0.1.0"
