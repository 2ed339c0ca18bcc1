"""Errors of training and prediction with a remedy for the user."""


class TrainerError(Exception):
    """Error whose message names the object, the rule, the value and the remedy."""
