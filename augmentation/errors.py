"""The error of this package that a user can fix."""


class AugmentationError(Exception):
    """An unusable category, detector or configuration; the message names it, the rule and the remedy."""
