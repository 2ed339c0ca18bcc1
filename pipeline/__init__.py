"""How work is planned, run and committed. Knows nothing of images, models or queries."""
