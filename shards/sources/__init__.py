"""Readers of public annotation formats; each yields a ``SourceSample`` for each image and split."""
