"""Semantic priors: prompt, rendering, store."""
