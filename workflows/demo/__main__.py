"""Run the whole job on the miniature world: images, priors, scenes, two networks, and one page with the results.

    make demo                # 9 minutes on two cores, the installation included
    make demo SIZE=smoke     # a test of every step in a minute; the networks are too small to be useful
    make demo SIZE=full      # thousands of training queries

Two networks train as many steps: one without generated data, one with priors and scenes. To resume the demo, run it
again. You find the page in ``runs/demo/index.html``, and the output of the steps in ``runs/demo/log``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from pipeline import write_atomic
from workflows.cli.console import console, print_path, run
from workflows.cli.steps import run_steps
from workflows.demo.page import write_page
from workflows.demo.plan import NETWORKS, SIZES, list_steps
from workflows.demo.result import Group, Size, compare_groups, describe_result, list_cells


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Size and folder of the demo."""

    size: Size = "short"
    """Number of images, scenes and steps; ``smoke`` only tests every step."""

    seed: int = 0
    """Seed of both networks."""

    output: Path | None = None
    """Folder of data, networks and page; by default ``runs/demo``, and ``runs/demo-<size>`` for other sizes."""


def main(config: DemoConfig) -> None:
    """Run the missing steps, then write the page and print the table."""
    default = "demo" if config.size == "short" else f"demo-{config.size}"
    output, size = config.output or Path("runs") / default, SIZES[config.size]
    costs = run_steps(list(list_steps(output, size, config.seed)), output)
    seconds = {name: cost.seconds for name, cost in costs.items()}
    groups = compare_groups(*(output / name / "evaluation" for name in NETWORKS))
    closing = describe_result(groups, config.size)
    summary = {
        "size": config.size,
        "seed": config.seed,
        "seconds": seconds,
        "peak_bytes_of_one_process": max(cost.peak_bytes for cost in costs.values()),
        "groups": [asdict(group) for group in groups],
        "closing": closing,
    }
    write_atomic(output / "demo.json", json.dumps(summary, indent=1))
    write_page(output, groups, closing, seconds)
    _print_table(groups)
    for line in closing:
        console.print(line, markup=False)
    print_path("open this page in a browser", (output / "index.html").resolve())


def _print_table(groups: list[Group]) -> None:
    head, rows = list_cells(groups)
    table = Table(title="Acc@0.5 in percent; difference in points with its paired 95 % interval over images")
    for number, column in enumerate(head):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    run(main, DemoConfig, __doc__)
