"""Miniature dataset: drawn images with exact boxes and queries."""
