"""Training of the miniature models."""
