"""Command lines of configurations: ``--help`` shows the options of a command itself, ``--help-all`` all groups."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import fields, is_dataclass, make_dataclass
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro
from docstring_parser import parse_from_object

Config = TypeVar("Config")


def parse_options(
    config: type[Config], arguments: Sequence[str], description: str | None, default: Config | None = None
) -> Config:
    """Parse a command line into ``config``, on top of ``default`` if it is given.

    Raises:
        SystemExit: help was requested, an option is unknown, or tyro has printed the rule that a value breaks.
    """
    options = ["--help" if argument == "--help-all" else argument for argument in arguments]
    text, kind, start = format_text(description or ""), config, default
    if {"-h", "--help"} & set(options):
        hints = get_type_hints(config)
        own: Any = config
        groups = [] if "--help-all" in arguments else [f.name for f in fields(own) if is_dataclass(hints[f.name])]
        kind, start = _describe_fields(config, default, groups)
        if groups:
            text = f"{text.rstrip()}\n\nMore options, which --help-all shows: {', '.join(groups)}."
    given: Mapping[str, Any] = {} if start is None else {"default": start}
    parsed: Config = tyro.cli(kind, args=options, description=text, prog=get_program(), **given)
    return parsed


def get_program() -> str:
    """Return how this program is called, such as ``python -m workflows.train``."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec else sys.argv[0]


def _describe_fields(config: type[Any], default: Any, hidden: Sequence[str]) -> tuple[type[Any], Any]:
    """Return a copy of a configuration and its default for help: ``hidden`` left out, and each sentence in one piece.

    tyro breaks a text where the source does.
    """
    sentences = {
        parameter.arg_name: format_text(" ".join((parameter.description or "").split()))
        for kind in reversed(config.__mro__[:-1])
        for parameter in parse_from_object(kind).params
    }
    described: list[tuple[str, Any, Any]] = []
    for name, hint in get_type_hints(config, include_extras=True).items():
        kind: Any = Annotated[hint, tyro.conf.Suppress] if name in hidden else hint
        if name in sentences:
            kind = Annotated[kind, tyro.conf.arg(help=sentences[name])]
        described.append((name, kind, copy(config.__dataclass_fields__[name])))
    shown = make_dataclass(config.__name__, described, bases=(config,), kw_only=True, frozen=True)
    if default is None:
        return shown, None
    return shown, shown(**{field.name: getattr(default, field.name) for field in fields(config)})


def format_text(text: str) -> str:
    """Write code as on a command line, in single quotes of Markdown."""
    return text.replace("``", "`")
