"""Detections, appearance attributes, and the filters of scenes."""
