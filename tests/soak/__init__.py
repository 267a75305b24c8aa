"""What takes too long for the suite: a large study whose workers are killed again and again."""
