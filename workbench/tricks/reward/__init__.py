"""What is done to the reward per token."""
