"""Shards to batches: samples, order, tensors, streams."""
