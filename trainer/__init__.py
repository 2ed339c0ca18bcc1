"""The grounding network: data streams, losses, training, evaluation and prediction."""
