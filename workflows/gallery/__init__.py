"""A static page of samples, priors, scenes and predictions."""
