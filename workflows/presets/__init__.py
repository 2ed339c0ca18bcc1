"""Named configurations, as functions that return them."""
