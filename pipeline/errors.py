"""Errors that the person who runs a job can fix."""


class PipelineError(Exception):
    """Error of one line that names the object, the rule, the value and the remedy."""


class Preempted(PipelineError):  # noqa: N818 - an event, not a mistake
    """Stop on request of the scheduler. Committed shards stay; run the same command to resume."""
