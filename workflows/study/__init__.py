"""Study of the method in miniature: variants, controls, seeds and sizes of the training data."""
