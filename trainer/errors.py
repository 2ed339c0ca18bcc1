"""Errors that a person who trains or predicts can mend."""


class TrainerError(Exception):
    """One clear line that names the object, the rule, the value and the remedy."""
