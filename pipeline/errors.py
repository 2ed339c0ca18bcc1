"""Errors that a person who runs a job can mend."""


class PipelineError(Exception):
    """One clear line that names the object, the rule, the value and the remedy."""


class Preempted(PipelineError):  # noqa: N818 - an event, not a mistake
    """The machine is wanted back. What was committed stays; the same command goes on with the rest."""
