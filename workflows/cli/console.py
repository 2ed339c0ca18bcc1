"""Parts that commands share: parsing, one-line errors, quiet libraries, and the console."""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import tyro
from rich.console import Console

from pipeline import ExecutorConfig, Location, Preempted, write_atomic
from trainer.command_line import parse_options

Config = TypeVar("Config")

Executor = Annotated[ExecutorConfig, tyro.conf.OmitArgPrefixes]
"""Executor options beside the command's own: ``--executor ray --workers 4``."""

console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 120)


class UserError(Exception):
    """Error that the user can fix; the message names the rule and the remedy."""


def run(
    main: Callable[[Config], object],
    config: type[Config],
    description: str | None,
    default: Callable[[list[str]], Config] | None = None,
) -> None:
    """Parse the command line into ``config`` and run ``main`` with it.

    Exits with status 2 and one line on standard error for a user's error, 130 if interrupted, 143 after SIGTERM.

    Args:
        main: command.
        config: class of its configuration.
        description: text of ``--help``.
        default: function from the command line to the defaults; None uses those of the class.
    """
    configure_library_logging()
    try:
        main(_parse_command_line(config, description, default))
    except KeyboardInterrupt:
        console.print("interrupted; run the same command again to resume")
        _exit_after_signal(130)
    except Preempted as notice:
        console.print(_format_error(notice), soft_wrap=True)
        _exit_after_signal(143)
    except get_user_errors() as error:
        console.print(f"[bold red]error:[/] {_format_error(error)}", soft_wrap=True)
        sys.exit(2)


def _exit_after_signal(status: int) -> NoReturn:
    """Exit; at once if Ray was used, whose threads now and then crash Python's shutdown after a signal (status 139)."""
    if "ray" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _parse_command_line(
    config: type[Config], description: str | None, default: Callable[[list[str]], Config] | None
) -> Config:
    """Parse the command line; the configuration checks its own values."""
    try:
        arguments = sys.argv[1:]
        return parse_options(config, arguments, description, default(arguments) if default else None)
    except ValueError as error:
        raise UserError(str(error)) from error


def get_user_errors() -> tuple[type[Exception], ...]:
    """Return the packages' errors for bad input, and the operating system's for files."""
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
    """Turn off progress bars and notices of libraries."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")  # for worker processes
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="transformers|diffusers|torch")
    warnings.filterwarnings("ignore", message="IProgress not found")  # progress bars in notebooks
    for library in ("transformers", "diffusers"):
        if library in sys.modules:
            importlib.import_module(f"{library}.utils.logging").disable_progress_bar()


def save_results(folder: Path, name: str, record: Mapping[str, Any], text: str) -> None:
    """Save results as ``<name>.json`` and, in Markdown, as ``<name>.md``, and print the latter."""
    from rich.markdown import Markdown

    write_atomic(folder / f"{name}.json", json.dumps(record, indent=1))
    write_atomic(folder / f"{name}.md", text)
    console.print(Markdown(text))
    print_path("results saved to", folder / f"{name}.md")


def print_path(what: str, path: Location) -> None:
    """Print the path of an output."""
    console.print(f"[green]{what}:[/] {path}", soft_wrap=True)
