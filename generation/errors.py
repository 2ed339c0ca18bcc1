"""The one error of this room for what a person can mend."""


class GenerationError(Exception):
    """A query, checkpoint or store that cannot be used; the message names it, the rule and the remedy."""
