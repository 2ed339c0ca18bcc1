"""Train the shipped network and its backbone, and save both beside the miniature models, with their model card.

    python -m workflows.miniature.grounder       # 20 minutes on two cores; a part of make miniature-models

The network is ``both`` of ``make demo SIZE=full``. To resume the command, run it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from upath import UPath

from pipeline import LimitedConfig, write_atomic
from trainer.evaluate import EvaluateConfig, evaluate
from trainer.evaluation.metrics import PredictionRecord
from trainer.model_card import CARD_FILE, ONE_BOX, format_model_card
from workflows.cli.console import print_path, run
from workflows.cli.steps import run_steps
from workflows.demo.plan import SIZES, list_steps
from workflows.demo.result import GROUPS, TEST
from workflows.miniature import WEIGHTS
from workflows.miniature.models.pretrained_backbone import PretrainedVisualConfig
from workflows.miniature.models.pretrained_backbone import main as pretrain_backbone
from workflows.reports.accuracy import (
    find_word_kinds,
    format_interval,
    format_percent,
    summarize_confidence,
    summarize_records,
)

SUMMARY = """\
`Grounder.from_pretrained("miniature")` loads this network; `make predict` and `make app` use it by default. It is the
network `both` of `make demo SIZE=full`, with priors and generated scenes, in half precision. To train it again:

```
.venv/bin/python -m workflows.miniature.grounder
```"""

DATA = """\
The miniature world: 2,000 drawn images with about 7,000 queries, and generated scenes with verified queries, at most a
quarter of the images of an epoch (`make demo SIZE=full`)."""

RECIPE = """\
`--recipe miniature` of `make train` with exemplars: 3,100 steps of 8 images, on 128 px, from random weights but for the
backbone. `docs/training.md` describes it."""

FIGURES = """\
Queries of the demo's test splits, with their own priors. Intervals are 95 % bootstrap intervals over images.

| test queries | number | Acc@0.5 | mean IoU |
|---|--:|--:|--:|
{rows}

The score tells right from wrong boxes with an AUROC of {score_auroc} %, and the presence tells objects that are in the
image from absent ones with {presence_auroc} %."""

LIMITS = (
    "The network knows the twelve categories, ten colors and three patterns of the miniature world, and its queries. "
    "Do not use it for photographs.",
    ONE_BOX,
    "Its priors are those of the miniature models (`workflows.presets.miniature`).",
)


@dataclass(frozen=True, kw_only=True)
class GrounderConfig(LimitedConfig):
    """Folders of the training and of the weights."""

    work: Path = Path("runs/miniature-grounder")
    """Folder of the data and of the trainings."""

    output: Path = WEIGHTS
    """Folder of the miniature models."""


def main(config: GrounderConfig) -> None:
    """Train what is missing, save both in half precision, and write the model card."""
    backbone = config.work / "backbone"
    pretrain_backbone(PretrainedVisualConfig(output=backbone))
    save_in_half_precision(backbone / "model.safetensors", config.output / "backbone" / "model.safetensors")
    run_steps(list(list_steps(config.work, SIZES["full"], seed=0)), config.work)
    trained, shipped = config.work / "both" / "best", config.output / "grounder"
    export_network(trained, shipped)
    samples = UPath(config.work / "data" / "miniature" / "packed-samples")
    records = evaluate(EvaluateConfig(checkpoint=shipped, data=samples, splits=TEST, output=config.work / "evaluation"))
    write_atomic(shipped / CARD_FILE, format_card(records))
    print_path("the network and its model card saved to", shipped)


def export_network(trained: Path, shipped: Path) -> None:
    """Save a trained network in half precision, with its processor and calibration."""
    from trainer.predict import Grounder

    grounder = Grounder.from_pretrained(trained, "cpu")
    grounder.network.half().save_pretrained(shipped)
    grounder.processor.save_pretrained(shipped)
    grounder.calibration.save_pretrained(shipped)


def save_in_half_precision(source: Path, output: Path) -> None:
    """Write the tensors of a safetensors file to another one, floating point numbers in half precision."""
    from safetensors.torch import load_file, save

    tensors = {name: one.half() if one.is_floating_point() else one for name, one in load_file(source).items()}
    write_atomic(output, save(tensors, {"format": "pt"}))


def format_card(records: Sequence[PredictionRecord]) -> str:
    """Format the model card of predictions."""
    kinds = find_word_kinds(one.text for one in records)

    def has_ordinal(one: PredictionRecord) -> bool:
        return "ordinal" in kinds[one.text]

    groups = {**GROUPS, "ordinals (second from the left)": has_ordinal}
    rows = []
    for name, is_member in groups.items():
        if members := [one for one in records if is_member(one)]:
            figures = summarize_records(members)
            cells = (format_interval(figures, "0.50"), format_interval(figures, "mean_iou"))
            rows.append(f"| {name} | {len(members):,} | {cells[0]} | {cells[1]} |")
    confidence = summarize_confidence(records)
    aurocs = {
        name: "-" if confidence[name] is None else format_percent(confidence[name])
        for name in ("score_auroc", "presence_auroc")
    }
    scores = FIGURES.format(rows="\n".join(rows), **aurocs)
    sections = {"": SUMMARY, "Data": DATA, "Recipe": RECIPE, "Figures": scores}
    return format_model_card(
        "The miniature grounding network", sections, LIMITS, place="miniature", license_id="apache-2.0"
    )


if __name__ == "__main__":
    run(main, GrounderConfig, __doc__)
