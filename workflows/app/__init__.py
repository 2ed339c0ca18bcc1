"""Page to try a network."""
