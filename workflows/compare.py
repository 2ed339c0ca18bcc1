"""Is one network better than another? The same queries, paired, with bootstrap intervals.

    python -m workflows.compare runs/miniature-both/evaluation runs/miniature-base/evaluation
    make compare A=runs/miniature-both/evaluation B=runs/miniature-base/evaluation

Differences are those of the first against the second, each with the priors that its report is about.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.markdown import Markdown

from trainer.evaluate import read_judgements
from trainer.evaluation.metrics import Judgement
from workflows.cli.console import console, lies_in, run
from workflows.cli.paths import write_whole
from workflows.reports.accuracy import comparison_of
from workflows.reports.accuracy_tables import comparison_markdown


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Two folders that ``evaluate`` wrote."""

    first: Annotated[Path, tyro.conf.Positional]
    second: Annotated[Path, tyro.conf.Positional]
    output: Path | None = None
    """Folder for ``comparison.json`` and ``comparison.md``; the first's where not given."""


def main(config: CompareConfig) -> None:
    """Print and write the comparison."""
    comparison = comparison_of(*(_answers(folder) for folder in (config.first, config.second)))
    names = (_name(config.first), _name(config.second))
    text = comparison_markdown(names, comparison)
    output = config.output or config.first
    output.mkdir(parents=True, exist_ok=True)
    write_whole(output / "comparison.json", json.dumps({"runs": names, "splits": comparison}, indent=1))
    write_whole(output / "comparison.md", text)
    console.print(Markdown(text))
    lies_in("the comparison", output / "comparison.md")


def _answers(folder: Path) -> list[Judgement]:
    judgements = read_judgements(folder)
    return [one for one in judgements if one.priors == judgements[0].priors]


def _name(folder: Path) -> str:
    """ "miniature-both" of ``runs/miniature-both/evaluation``."""
    return folder.parent.name if folder.name == "evaluation" else folder.name


if __name__ == "__main__":
    run(main, CompareConfig, __doc__)
