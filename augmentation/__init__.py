"""From a category to a labeled scene that only a spatial relation can resolve."""
