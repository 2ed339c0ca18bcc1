"""The miniature world: drawn scenes, their data set and captions, and the small models trained on them."""
