"""Speed of the full-size models on one GPU, part by part."""
