"""Error of stored samples."""


class SchemaError(ValueError):
    """A sample that breaks a rule of the schema; the message names the sample, the rule and the value."""
