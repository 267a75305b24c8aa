"""The critic's loss per token."""
