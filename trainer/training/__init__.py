"""Losses, optimizer, checkpoints and logs of training."""
