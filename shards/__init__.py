"""What a sample is, and how samples lie on disk."""
