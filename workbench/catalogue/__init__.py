"""The tricks and recipes in words: for the terminal, for programs, and for docs/."""
