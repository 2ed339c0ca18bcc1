"""Does the method work? Its claims in miniature: arms, controls, seeds and data sizes."""
