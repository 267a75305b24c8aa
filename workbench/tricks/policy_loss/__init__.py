"""The policy's loss per token."""
