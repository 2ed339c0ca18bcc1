"""Static page of samples, priors, scenes and predictions."""
