"""The grounding network: one module for each part of the paper, and checkpoints of others."""
