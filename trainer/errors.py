"""Errors of training and prediction with a remedy for the user."""

import os
import sys
from pathlib import Path
from typing import NoReturn

ERROR_FILE = "RESVG_ERROR_FILE"
"""Environment variable with the path of a file for an error, instead of standard error."""


class TrainerError(Exception):
    """Error whose message names the object, the rule, the value and the remedy."""


def exit_with_error(error: Exception) -> NoReturn:
    """Exit with status 2, and pass the message on: to the file of the launching process, or to standard error.

    Launchers of several processes print a traceback of their own behind each failure, so the message would be lost.
    """
    if path := os.environ.get(ERROR_FILE):
        Path(path).write_text(str(error))
    else:
        print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
