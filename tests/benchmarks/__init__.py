"""Speed of PPO against a peer and against the arithmetic: `python -m tests.benchmarks.ppo_speed`."""
