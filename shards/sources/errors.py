"""The one error of annotation files that cannot be read."""


class SourceError(Exception):
    """A file from outside that breaks a rule; the message names the file, the row, the rule and the remedy."""
