"""Draw the miniature dataset."""

from __future__ import annotations

from workflows.cli.console import run
from workflows.miniature.world.dataset import WorldConfig, write_dataset


def main(config: WorldConfig) -> None:
    """Draw the dataset and print its numbers of queries."""
    print(f"{config.output}: queries {write_dataset(config)}")


if __name__ == "__main__":
    run(main, WorldConfig, __doc__)
