"""From a query to its attributes: tagging, noun phrases, location words, spelling."""
