"""How slow copies of the policy follow it."""
