"""Verified queries of a scene and their wording."""
