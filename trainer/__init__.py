"""The grounding network: its data stream, losses, training, evaluation and prediction."""
