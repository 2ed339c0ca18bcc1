"""Images with boxes and attention maps."""
