"""Text-to-image models and image encoders."""
