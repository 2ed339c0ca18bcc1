"""From a category to a labelled scene that only a spatial relation can resolve."""
