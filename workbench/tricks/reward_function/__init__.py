"""What is done to the reward model's score before any statistics are taken."""
