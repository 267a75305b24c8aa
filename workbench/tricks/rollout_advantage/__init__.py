"""What is done to the advantages of a whole rollout."""
