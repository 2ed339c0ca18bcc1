"""Plan of the rehearsal: the commands of its steps, as docs/full-size.md shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from workflows.cli.steps import Command, Step
from workflows.miniature.world.drawing import PLURALS
from workflows.rehearsal.config import RehearsalConfig

DATASET = "rehearsal"
SCALE, SMALL_SCALE = 6, 2
"""Factors of the miniature world's lengths. At 6, images have 504 to 672 px a side, as photographs of COCO."""

VOCABULARY = {"categories": PLURALS}
"""Categories that the miniature world can draw, and the saved detector names."""

NETWORKS = {"published": (), "exemplars": ("--exemplars", "True")}
"""Options of the trained networks by name."""

SMALL_NETWORK = (
    *("--network.image-size-px", "128", "--network.width", "64", "--network.num-heads", "4"),
    *("--network.feedforward-width", "128", "--network.num-encoder-layers", "2", "--network.num-stages", "2"),
    *("--network.backbone.stem-width", "16", "--network.backbone.widths", "32", "64", "128", "256"),
    *("--network.backbone.depths", "1", "1", "1", "1"),
)


def list_steps(config: RehearsalConfig) -> Iterator[Step]:
    """Yield the steps in order."""
    for name, commands in _list_commands(config):
        yield Step(name=name, lanes=(tuple(commands),))


def _list_commands(config: RehearsalConfig) -> Iterator[tuple[str, list[Command]]]:
    output, sized = config.folder, config.sized
    refer, models = output / "refer", output / "models"
    dataset = ("--data", str(output / "data"), "--dataset", DATASET)
    render = ("--image-size-px", str(sized.image_size_px), "--num-inference-steps", str(sized.num_inference_steps))
    yield (
        "save models",
        [("workflows.rehearsal.models", "--output", str(models), *(("--small",) if config.smoke else ()))],
    )
    num_test, scale = max(2, sized.num_images // 10), SMALL_SCALE if config.smoke else SCALE
    yield (
        "draw images",
        [
            (
                "workflows.miniature.world",
                *("--output", str(refer), "--scale", str(scale), "--num-train", str(sized.num_images - 3 * num_test)),
                *("--num-val", str(num_test), "--num-test", str(num_test)),
            ),
            (
                "workflows.miniature.world.cutouts",
                *("--cutouts", str(output / "cutouts"), "--backgrounds", str(output / "backgrounds")),
                *("--extents-px", str(28 * scale), "--background-px", str(112 * scale), str(84 * scale)),
            ),
        ],
    )
    annotations = ("--annotations", str(refer / "miniature"), "--images", str(refer / "images"))
    yield "ingest", [("workflows.ingest", *dataset, *annotations, *_make_shards("samples", sized.num_images))]
    yield (
        "generate-priors",
        [
            (
                "workflows.generate_priors",
                *dataset,
                *("--preset", "sd15", "--prior.render.checkpoint", str(models / "stable-diffusion-v1-5")),
                *("--prior.encoder.checkpoint", str(models / "clip-vit-base-patch32")),
                *_prefix("prior.render", render),
                *_make_shards("priors", 2 * sized.num_images),
            )
        ],
    )
    yield (
        "augment",
        [
            (
                "workflows.augment",
                *dataset,
                *("--composers", "prompted", "pasted", "photographs", "--num-scenes", str(sized.num_scenes)),
                *("--vocabulary", str(output / "vocabulary.json")),
                *("--render.checkpoint", str(models / "stable-diffusion-v1-5"), *_prefix("render", render)),
                *("--detector.checkpoint", str(models / "rtdetr_r50vd")),
                *("--pasted.cutouts", str(output / "cutouts"), "--pasted.backgrounds", str(output / "backgrounds")),
                *_make_shards("scenes", sized.num_scenes // 3),
            )
        ],
    )
    shards = _make_shards("samples", sized.num_images)
    yield "crop-features", [("workflows.crop_features", *dataset, "--num-views", str(sized.num_views), *shards)]
    yield "pack", [("workflows.pack", *dataset, *shards)]
    for name, options in NETWORKS.items():
        yield f"train, {name}", [_make_train_command(config, dataset, output / name, options)]
    for name in NETWORKS:
        yield (
            f"evaluate, {name}",
            [
                (
                    "workflows.evaluate",
                    *dataset,
                    *("--checkpoint", str(output / name / "best"), "--mixed-precision", sized.mixed_precision),
                )
            ],
        )
    yield (
        "predict",
        [
            (
                "workflows.predict",
                *(
                    "--image",
                    str(refer / "images" / "miniature_000001.png"),
                    "--query",
                    "the pink elephant on the left",
                ),
                *("--checkpoint", str(output / "exemplars" / "best"), "--data", str(output / "data")),
                *("--output", str(output / "predictions")),
            )
        ],
    )


def _make_train_command(config: RehearsalConfig, dataset: Command, folder: Path, options: Command) -> Command:
    """Make a training's command; no part is frozen, as after the published recipe's first ten epochs."""
    sized, models = config.sized, config.folder / "models"
    return (
        "workflows.train",
        *dataset,
        *("--pretrained-visual", str(models / "detr-resnet-50"), "--output", str(folder), *options, "--"),
        *("--text-encoder", str(models / "bert-base-uncased"), "--steps", str(sized.train_steps)),
        *("--batch-images", str(sized.batch_images), "--mixed-precision", sized.mixed_precision),
        *("--optimization.freeze-epochs", "0", "--validate-every-epochs", "1000", "--log-every-steps", "1"),
        *("--num-workers", str(sized.num_workers)),
        *(SMALL_NETWORK if config.smoke else ()),
    )


def _prefix(name: str, options: Command) -> Command:
    """Return the options with a group's name: ``--size`` as ``--name.size``."""
    return tuple(option.replace("--", f"--{name}.", 1) for option in options)


def _make_shards(items: str, expected: int) -> Command:
    """Return the option for about four shards of some items; the first one's time includes the loading of models."""
    return (f"--{items}-per-shard", str(max(1, expected // 4)))
