"""Losses, the training loop, checkpoints and evaluation."""
