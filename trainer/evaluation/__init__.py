"""Predictions on whole datasets, their metrics and confidence intervals."""
