"""Generation of a query's semantic prior: attributes, prompt, image, feature."""
