"""Model card of a network: a README.md whose YAML header is that of the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

import yaml

from trainer.config import TrainConfig
from trainer.evaluation.bootstrap import compute_intervals
from trainer.evaluation.metrics import PredictionRecord

CARD_FILE = "README.md"

USE = """```python
from trainer.predict import Grounder

grounder = Grounder.from_pretrained({place!r})
grounder.set_image("image.png")
prediction = grounder.predict("second cup from the left")
print(prediction.box_xyxy, prediction.score)
```"""

ONE_BOX = (
    "It answers every query with one box, also if the image has no such object. `Prediction.presence` is the "
    "probability that the object is there; it is None if training has not calibrated it."
)
"""Limit of networks without a presence head."""

SEVERAL_BOXES = (
    "`Prediction.boxes` has the boxes whose presence is 0.5 or more, at most {num}; it is empty if the object is "
    "probably absent. `Prediction.box_xyxy` is always the most probable box."
)
"""Limit of networks with a presence head."""


def format_model_card(
    name: str,
    sections: Mapping[str, str],
    limits: Sequence[str],
    *,
    place: str = "FOLDER_OR_HUB_ID",
    license_id: str = "other",
) -> str:
    """Format a model card.

    Args:
        name: heading.
        sections: Markdown by heading, in order; the first has no heading.
        limits: sentences, each for one bullet.
        place: what ``Grounder.from_pretrained`` loads.
        license_id: license as the hub names it; ``other`` if it is the user's to say.
    """
    header = {
        "license": license_id,
        "library_name": "resvg-grounding",
        "pipeline_tag": "zero-shot-object-detection",
        "tags": ["visual-grounding", "referring-expression-comprehension"],
    }
    parts = [f"---\n{yaml.safe_dump(header, sort_keys=False)}---", f"# {name}"]
    parts += [f"## {heading}\n\n{text}" if heading else text for heading, text in sections.items()]
    parts += ["## Use", USE.format(place=place).replace("'", '"')]
    parts += ["## Limits", "\n".join(f"- {limit}" for limit in limits)]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def format_training_card(
    config: TrainConfig,
    counts: Sequence[tuple[int, int]],
    num_parameters: int,
    step: int,
    predictions: Sequence[PredictionRecord] = (),
) -> str:
    """Format the model card of a checkpoint.

    Args:
        config: configuration of the training.
        counts: images and queries of each of its ``train``.
        num_parameters: number of parameters of the network.
        step: number of steps so far.
        predictions: predictions of these weights for the validation split; empty if they are not validated.
    """
    sections = {
        "": f"A network for visual grounding with {num_parameters:,} parameters: image and query in, box out. "
        "Training wrote this card; add what it cannot know.",
        "Data": _format_table(
            ("run", "images", "queries"),
            [
                (_shorten(run), f"{images:,}", f"{queries:,}")
                for run, (images, queries) in zip(config.train, counts, strict=True)
            ],
        ),
        "Recipe": _format_table(("setting", "value"), _list_settings(config, step)),
    }
    if predictions:
        sections["Figures"] = (
            f"{len(predictions):,} queries of the split {config.validate_split}, with 95 % bootstrap intervals over "
            "images. This split chose the checkpoint, so other queries may be answered worse.\n\n"
            + _format_table(("measure", "percent"), _list_scores(predictions))
        )
    limits = (
        SEVERAL_BOXES.format(num=config.network.num_target_tokens) if config.network.presence else ONE_BOX,
        "It knows objects and words of its training data. Measure it on yours before you rely on it.",
        "The licenses of the training images and of the pretrained weights apply. State yours in the header above.",
    )
    return format_model_card(config.output.name, sections, limits)


def _list_settings(config: TrainConfig, step: int) -> list[tuple[str, str]]:
    """List what decides the weights most, by words; ``train_config.json`` in the folder of the run has all of it."""
    network, optimization = config.network, config.optimization
    if config.start is not None:
        starts = [("started network", _shorten(config.start))]
    else:
        text = _shorten(config.text_encoder) + (" (random weights)" if config.text_from_scratch else "")
        visual = "random weights" if config.pretrained_visual is None else _shorten(config.pretrained_visual)
        starts = [("text encoder", text), ("visual parts", visual)]
    priors = "none" if not network.use_prior else "start the target token"
    return [
        *starts,
        ("image size", f"{network.image_size_px} px"),
        ("priors", priors if network.exemplar_scoring is None else "exemplars, compared with the image"),
        ("steps", f"{step:,}"),
        ("images and queries of a step", f"{config.batch_images}, {config.max_queries} of each"),
        ("learning rates", f"{optimization.learning_rate:g}, pretrained {optimization.pretrained_learning_rate:g}"),
        ("schedule", optimization.schedule),
        ("precision", config.mixed_precision if config.mixed_precision in ("bf16", "fp16") else "float32"),
        ("seed", str(config.seed)),
    ]


def _list_scores(predictions: Sequence[PredictionRecord]) -> list[tuple[str, str]]:
    """List Acc@0.5, Acc@0.75 and mean IoU."""
    rows = [[one.iou > 0.5, one.iou > 0.75, one.iou] for one in predictions]
    intervals = compute_intervals(rows, [one.key for one in predictions], are_shares=True)
    texts = (f"{100 * one.mean:.1f} ({100 * one.low:.1f} to {100 * one.high:.1f})" for one in intervals)
    return list(zip(("Acc@0.5", "Acc@0.75", "mean IoU"), texts, strict=True))


def _shorten(path: object) -> str:
    """Return the last two parts of a path, which are a hub id as it is; folders of a machine are nobody's business."""
    return "/".join(PurePath(str(path)).parts[-2:])


def _format_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---", *["--:"] * (len(columns) - 1)] if len(columns) > 2 else ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
