"""Run a command of this package: ``resvg-grounding ingest --help`` is ``python -m workflows.ingest --help``."""

from __future__ import annotations

import ast
import runpy
import sys
from importlib.resources import files
from pathlib import Path

from trainer.command_line import format_text, get_program

COMMANDS = {
    "predict": "predict",
    "demo": "demo",
    "app": "app",
    "inspect": "inspect",
    "ingest": "ingest",
    "generate-priors": "generate_priors",
    "cut-out": "cut_out",
    "augment": "augment",
    "pack": "pack",
    "crop-features": "crop_features",
    "train": "train",
    "evaluate": "evaluate",
    "compare": "compare",
    "export": "export",
    "push": "push",
    "gallery": "gallery",
    "status": "status",
    "study": "study",
    "rehearsal": "rehearsal",
    "miniature": "miniature.world",
    "check-setup": "check_setup",
}
"""Modules below ``workflows``, by the name of their command, in the order of use."""


def main() -> None:
    """Run the command that the first argument names; without one, list them."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(f"usage: {Path(get_program()).name} COMMAND [OPTIONS]\n")
        for name, module in COMMANDS.items():
            print(f"  {name:16} {_read_summary(module)}")
        print("\nCOMMAND --help shows its options.")
        sys.exit()
    name = sys.argv.pop(1)
    if name not in COMMANDS:
        sys.exit(f"error: there is no command {name!r}; resvg-grounding --help lists them")
    runpy.run_module(f"workflows.{COMMANDS[name]}", run_name="__main__", alter_sys=True)


def _read_summary(module: str) -> str:
    """Return the first line of a module's docstring, without importing the module."""
    folder = files("workflows").joinpath(*module.split("."))
    source = folder / "__main__.py" if folder.is_dir() else files("workflows") / f"{module}.py"
    text = source.read_text(encoding="utf-8")
    return format_text((ast.get_docstring(ast.parse(text)) or "").partition("\n")[0])


if __name__ == "__main__":
    main()
