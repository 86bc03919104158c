"""The loop, steps and losses of fine-tuning and of training `nano`. Nothing here is needed to predict."""
