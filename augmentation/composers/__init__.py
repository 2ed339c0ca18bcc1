"""Composers: each makes the image of a scene."""
