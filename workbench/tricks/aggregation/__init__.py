"""How losses per token become one number."""
