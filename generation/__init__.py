"""From a referring expression to its semantic prior: attributes, prompt, image, feature."""
