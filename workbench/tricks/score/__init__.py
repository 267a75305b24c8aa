"""What is done to the reward model's score."""
