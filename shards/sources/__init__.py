"""Readers of public annotation formats: each yields ``SourceSample``s, one for each image and split."""
