"""What every command shares: parsing, quiet libraries, one clear line for a user's error, and where output lies."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, TypeVar

import tyro
from rich.console import Console

from pipeline import ExecutorConfig, Location, Preempted

Config = TypeVar("Config")

Executor = Annotated[ExecutorConfig, tyro.conf.arg(name="")]
"""Its options stand beside the command's own: ``--executor ray --workers 4``."""

console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 120)


class UserError(Exception):
    """Something a person can mend; the message says what and how."""


def run(
    main: Callable[[Config], object],
    config: type[Config],
    description: str | None,
    default: Callable[[list[str]], Config] | None = None,
) -> None:
    """Parse the command line into ``config`` and run ``main`` with it.

    Args:
        default: makes what the options start from, out of the command line; else the class's own defaults are.

    Exits with status 2 and one line on standard error for a user's error, 130 when interrupted, 143 after SIGTERM.
    """
    configure_library_logging()
    try:
        main(_parse_command_line(config, description, default))
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on where this one stopped")
        sys.exit(130)
    except Preempted as notice:
        console.print(_format_error(notice), soft_wrap=True)
        sys.exit(143)
    except get_user_errors() as error:
        console.print(f"[bold red]error:[/] {_format_error(error)}", soft_wrap=True)
        sys.exit(2)


def _parse_command_line(
    config: type[Config], description: str | None, default: Callable[[list[str]], Config] | None
) -> Config:
    """The command line, whose values the configurations themselves check."""
    try:
        if default is None:
            return tyro.cli(config, description=description)
        return tyro.cli(config, description=description, default=default(sys.argv[1:]))
    except ValueError as error:
        raise UserError(str(error)) from error


def get_user_errors() -> tuple[type[Exception], ...]:
    """The rooms' own errors for bad input, and the operating system's about files."""
    from augmentation.errors import AugmentationError
    from generation.errors import GenerationError
    from pipeline import PipelineError
    from shards.errors import SchemaError
    from shards.sources.errors import SourceError
    from trainer.errors import TrainerError

    package_errors = (PipelineError, SchemaError, SourceError, GenerationError, AugmentationError, TrainerError)
    return (UserError, *package_errors, FileNotFoundError, NotADirectoryError, PermissionError)


def _format_error(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text.replace("[", "\\[")


def configure_library_logging() -> None:
    """No progress bars and notices of libraries in between ours."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")  # of worker processes
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="transformers|diffusers|torch")
    warnings.filterwarnings("ignore", message="IProgress not found")  # of progress bars in notebooks
    for library in ("transformers", "diffusers"):
        if library in sys.modules:
            importlib.import_module(f"{library}.utils.logging").disable_progress_bar()


def print_path(what: str, path: Location) -> None:
    """Say where output lies."""
    console.print(f"[green]{what}:[/] {path}", soft_wrap=True)
