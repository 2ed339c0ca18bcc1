"""Errors that a person who runs a job can mend."""


class PipelineError(Exception):
    """One clear line that names the thing, the rule, the value and the remedy."""
