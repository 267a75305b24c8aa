"""What is done to the gradients."""
