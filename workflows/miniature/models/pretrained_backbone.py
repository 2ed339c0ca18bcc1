"""Pretrain the backbone of the miniature network on appearance, starting from the detector's.

    python -m workflows.miniature.models.pretrained_backbone

The miniature detector is trained on categories only. Its last stage has lost the colors, and training the network does
not bring them back. A full-size detector's backbone comes from the thousand classes of ImageNet, or from attributes
(Anderson et al., CVPR 2018), which should keep them (not measured here). Here each cell of the last stage predicts
category, color and pattern of its object, in scenes of the combinations that training may show.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from upath import UPath

from pipeline import LimitedConfig, PositiveInt, write_atomic
from workflows.cli.console import UserError, print_path, run

MEASURED = "measured.json"


@dataclass(frozen=True, kw_only=True)
class PretrainedVisualConfig(LimitedConfig):
    """Folder and length of the pretraining."""

    output: Path = Path("runs/miniature-backbone")
    """Folder of the backbone and of its measured accuracy."""

    steps: PositiveInt = 1500
    """Steps of 16 scenes each, at least 1; the default takes two minutes on two cores."""

    seed: int = 0
    """Seed of the scenes and of the new layers."""


def main(config: PretrainedVisualConfig) -> None:
    """Pretrain and write ``model.safetensors``, then ``measured.json``; do nothing if both exist.

    Raises:
        UserError: the existing backbone was trained with other settings.
    """
    settings = {"steps": config.steps, "seed": config.seed}
    if (config.output / MEASURED).is_file():
        recorded = json.loads((config.output / MEASURED).read_text())
        if {name: recorded.get(name, value) for name, value in settings.items()} != settings:
            raise UserError(
                f"{config.output} was trained with other settings ({recorded} instead of {settings}); choose another "
                "--output, or remove the folder"
            )
    else:
        from workflows.miniature.models.backbone_training import train_backbone

        measured = train_backbone(config)
        write_atomic(UPath(config.output) / MEASURED, json.dumps({**settings, "right": measured}, indent=1))
    print_path("backbone of the miniature network saved to", config.output)


if __name__ == "__main__":
    run(main, PretrainedVisualConfig, __doc__)
