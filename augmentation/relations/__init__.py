"""Relation programs and their evaluation on the objects of a scene."""
