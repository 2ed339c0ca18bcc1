"""The prior configuration of a data set, kept beside its runs: given to generate-priors, read by every later step."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from upath import UPath

from generation.models.config import EncoderConfig, RenderConfig
from generation.priors.config import PriorConfig, compute_encoder_fingerprint
from generation.priors.prompt import PromptConfig
from pipeline import Location, write_atomic
from trainer.hub import PRIOR_FILE
from workflows.cli.console import UserError
from workflows.cli.paths import DATA, get_dataset_paths, get_prior_store_path
from workflows.presets import miniature


def save_prior_config(path: Location, config: PriorConfig) -> None:
    """Write ``config`` as JSON, whole or not at all."""
    write_atomic(path, json.dumps(asdict(config), indent=1) + "\n")


def find_prior_store_path(dataset: str, data: UPath = DATA) -> UPath:
    """Return the folder of a dataset's prior store."""
    return get_prior_store_path(
        compute_encoder_fingerprint(load_prior_config(get_dataset_paths(dataset, data).prior_config)), data
    )


def find_prior_file(checkpoint: Path) -> Path:
    """Return the file of a network's prior configuration: in its folder if it was pushed, or else beside it."""
    pushed = checkpoint / PRIOR_FILE
    return pushed if pushed.is_file() else checkpoint.parent / PRIOR_FILE


def load_prior_config(path: Location) -> PriorConfig:
    """Read what ``save_prior_config`` wrote; if there is no such file, return the miniature's configuration.

    Raises:
        UserError: the file is damaged.
    """
    if not path.is_file():
        return miniature.prior_config()
    try:
        record = json.loads(path.read_bytes())
        parts = {"render": RenderConfig, "prompt": PromptConfig, "encoder": EncoderConfig}
        return PriorConfig(**{**record, **{name: part(**record[name]) for name, part in parts.items()}})
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); run `make generate-priors` again with your options") from error
