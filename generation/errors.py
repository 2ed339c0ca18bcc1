"""Error of this package."""


class GenerationError(Exception):
    """A query, checkpoint or store that cannot be used; the message names it, the rule and the remedy."""
