"""The studies of "Secrets of RLHF, Part I: PPO", one a figure; `make paper` runs them all."""
