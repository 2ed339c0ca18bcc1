"""Train the miniature CLIP, Stable Diffusion, detector and grounding network, and save them with their model cards.

    make miniature-models

The command takes hours on two CPU cores. To resume it, run it again: each model continues from its checkpoint in the
work folder. The weights in the repository were made by this command.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from workflows.cli.console import run
from workflows.miniature import WEIGHTS


@dataclass(frozen=True, kw_only=True)
class MiniatureModelsConfig:
    """Training lengths of the models and folders."""

    work: Path = Path("runs/miniature-models")
    """Folder of checkpoints, captioned images and contact sheets."""

    output: Path = WEIGHTS
    """Folder of the trained models."""

    num_images: int = 60_000
    """Number of captioned training images."""

    autoencoder_steps: int = 2_200
    """Steps of the autoencoder."""

    clip_steps: int = 1_500
    """Steps of CLIP, both towers together."""

    clip_sharpening_steps: int = 900
    """Steps of CLIP's vision tower alone, after ``clip_steps``."""

    unet_steps: int = 9_500
    """Steps of Stable Diffusion's denoiser."""

    classifier_steps: int = 450
    """Steps of the attribute classifier."""

    detector_steps: int = 4_500
    """Steps of the detector on world scenes, drawn and passed through the autoencoder."""

    detector_generated_steps: int = 900
    """Steps of the detector on world scenes and rendered images, after ``detector_steps``."""

    num_autoencoded: int = 4_000
    """Number of training images of the detector that pass through the autoencoder."""

    num_generated: int = 900
    """Number of training images of the detector that Stable Diffusion renders."""

    num_measured: int = 300
    """Number of single-object prompts of the evaluation."""

    threads: int = os.cpu_count() or 1
    """Threads of torch; the default is the number of cores."""


def main(config: MiniatureModelsConfig) -> None:
    """Train the missing models, evaluate them and save everything."""
    from workflows.miniature import grounder
    from workflows.miniature.models.model_training import train_models

    train_models(config)
    grounder.main(grounder.GrounderConfig(work=config.work / "grounder", output=config.output))


if __name__ == "__main__":
    run(main, MiniatureModelsConfig, __doc__)
