"""Save folders of the full-size models with random weights.

    python -m workflows.rehearsal.models --output runs/rehearsal/models

``python -m workflows.rehearsal`` runs this as its first step.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from generation.parsing.coco_categories import COCO_CATEGORIES
from pipeline import write_atomic
from workflows.cli.console import configure_library_logging, print_path, run
from workflows.miniature.world.drawing import PLURALS

MACHINE_FILE = "machine.json"
"""Name of the file with device and version of torch, beside the models."""


@dataclass(frozen=True, kw_only=True)
class ModelsConfig:
    """Folder and size of the models."""

    output: Path
    """Folder of the models, one folder each; those that are there are replaced."""

    small: bool = False
    """Flag to save a few layers of small width, of the same classes."""


def main(config: ModelsConfig) -> None:
    """Save every model."""
    import torch

    from workflows.presets import random_weights

    configure_library_logging()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    output, small = config.output, config.small
    random_weights.save_stable_diffusion(output / "stable-diffusion-v1-5", torch.float16, device, small=small)
    random_weights.save_clip(output / "clip-vit-base-patch32", device, small=small)
    labels = list(dict.fromkeys([*PLURALS, *COCO_CATEGORIES]))[: len(COCO_CATEGORIES)]
    random_weights.save_rtdetr(output / "rtdetr_r50vd", device, labels, small=small)
    random_weights.save_detr(output / "detr-resnet-50", device, small=small)
    random_weights.save_bert(output / "bert-base-uncased", device, small=small)
    machine = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, threads: {torch.get_num_threads()}",
        "is_gpu": device.type == "cuda",
        "torch": torch.__version__,
    }
    write_atomic(output / MACHINE_FILE, json.dumps(machine, indent=1))
    print_path("models saved to", output)


if __name__ == "__main__":
    run(main, ModelsConfig, __doc__)
