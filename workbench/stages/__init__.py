"""The pipeline: pretrain → sft → reward_model → ppo."""
