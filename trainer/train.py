"""Train a grounding network, on one process or several. To resume, run the same command again.

    accelerate launch -m trainer.train published --output runs/refcoco --train data/refcoco-packed data/scenes-packed
    accelerate launch -m trainer.train miniature --output runs/tiny --train data/packed --text-encoder bert-folder
    accelerate launch -m trainer.train --config runs/tiny/train_config.json --epochs 20

The first word is a recipe, or ``--config`` names a configuration file; options change single values. The run's folder
then holds its configuration ``train_config.json``, the trained network ``best`` for ``trainer.predict`` and
``trainer.evaluate``, and the scores on the validation split in ``metrics.json``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import tyro

from pipeline import PipelineError
from shards.errors import SchemaError
from trainer.command_line import format_text, get_program, parse_options
from trainer.config import TrainConfig, make_miniature_recipe, make_published_recipe
from trainer.config_file import parse_overrides, read_config, split_config_option
from trainer.errors import TrainerError, exit_with_error

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # loader processes are forked


def train(config: TrainConfig) -> dict[str, Any]:
    """Train, or resume the training in ``config.output``.

    Returns:
        The contents of ``metrics.json``: the best score, a record of each epoch, and ``finished``, False after
        ``stop_after_steps``.

    Raises:
        TrainerError: the configuration, the data or the machine must be changed; checkpoints are intact.
    """
    from trainer.training.loop import Trainer

    return Trainer(config).run()


def parse_command_line(arguments: Sequence[str]) -> TrainConfig:
    """Return the configuration of a recipe, or of the file after ``--config``, with options on top.

    Raises:
        TrainerError: the file is not a configuration of this version.
        SystemExit: an option is unknown, or a value breaks a rule; tyro has printed the reason.
    """
    path, options = split_config_option(arguments)
    if path is not None:
        return parse_overrides(read_config(TrainConfig, path), options, __doc__)
    recipes = {
        "published": ("Recipe of the paper", make_published_recipe()),
        "miniature": ("Miniature network on the miniature world", make_miniature_recipe()),
    }
    if options and options[0] in recipes:
        return parse_options(TrainConfig, options[1:], __doc__, recipes[options[0]][1])
    return tyro.extras.overridable_config_cli(
        recipes, args=options, description=format_text(__doc__ or ""), prog=get_program()
    )


def main() -> None:
    """Run the command line."""
    try:
        config = parse_command_line(sys.argv[1:])
        finished = train(config)["finished"]
    except (TrainerError, SchemaError, PipelineError) as error:
        exit_with_error(error)
    from accelerate import PartialState

    if PartialState().is_main_process:
        saved = f"the network was saved to {config.output / 'best'}"
        print(saved if finished else "paused; to resume, run the same command again")


if __name__ == "__main__":
    main()
