"""How far the policy has moved from the one that sampled."""
