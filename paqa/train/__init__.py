"""Training: data, model, rewards, SFT and GRPO; only `rewards` and the data belong to the light core."""
