"""The one error of this room for what a person can mend."""


class AugmentationError(Exception):
    """A category, detector or configuration that cannot be used; the message names it, the rule and the remedy."""
