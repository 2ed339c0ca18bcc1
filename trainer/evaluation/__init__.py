"""Metrics and predictions on whole data sets."""
