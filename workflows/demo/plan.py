"""Plan of the demo: its sizes, and the commands of its steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workflows.cli.steps import Command, Step
from workflows.demo.result import TEST

NETWORKS = ("base", "both")


@dataclass(frozen=True, kw_only=True)
class DemoSize:
    """Sizes of the dataset and of the trainings, and the expected seconds of each step on two cores."""

    num_train: int
    """Number of training images, with 3.5 queries each."""

    num_val: int
    num_test: int
    """Number of images of each of testA and testB."""

    num_scenes: int
    """Number of requested scenes."""

    steps: int
    """Steps of each training."""

    expected_s: tuple[int, int, int, int]


SIZES = {
    "short": DemoSize(num_train=150, num_val=60, num_test=300, num_scenes=320, steps=3000, expected_s=(4, 80, 15, 330)),
    "full": DemoSize(
        num_train=2000, num_val=250, num_test=400, num_scenes=900, steps=3100, expected_s=(10, 240, 40, 370)
    ),
    "smoke": DemoSize(num_train=40, num_val=12, num_test=12, num_scenes=24, steps=8, expected_s=(3, 25, 15, 10)),
}


def list_steps(output: Path, size: DemoSize, seed: int) -> Iterator[Step]:
    """Yield the steps in order."""
    data, dataset = ("--data", str(output / "data")), output / "data" / "miniature"
    refer, (images_s, generate_s, pack_s, train_s) = dataset / "refer", size.expected_s
    yield Step(
        name="draw and ingest images",
        expected_s=images_s,
        lanes=(
            (
                (
                    "workflows.miniature.world",
                    *("--output", str(refer), "--num-train", str(size.num_train)),
                    *("--num-val", str(size.num_val), "--num-test", str(size.num_test)),
                ),
                (
                    "workflows.ingest",
                    *data,
                    *("--annotations", str(refer / "miniature"), "--images", str(refer / "images")),
                ),
            ),
        ),
    )
    augment = ("workflows.augment", *data, "--num-scenes", str(size.num_scenes), "--num-rejected-images", "0")
    yield Step(
        name="generate priors and scenes",
        expected_s=generate_s,
        lanes=((("workflows.generate_priors", *data),), ((*augment, "--no-priors"),)),
    )
    yield Step(
        name="add the priors of scenes and the crops of instances",
        expected_s=pack_s,
        lanes=(
            (("workflows.generate_priors", *data, "--source", "scenes"), ("workflows.pack", *data)),
            (("workflows.crop_features", *data),),
        ),
    )
    yield Step(
        name="train and evaluate both networks",
        expected_s=train_s,
        lanes=tuple(tuple(_list_network_commands(output, name, size.steps, seed)) for name in NETWORKS),
    )


def _list_network_commands(output: Path, name: str, steps: int, seed: int) -> Iterator[Command]:
    """Yield the commands that train and evaluate a network; the weights of the last step count."""
    folder = output / name
    yield (
        "workflows.train",
        *("--data", str(output / "data"), "--variant", name, "--output", str(folder)),
        *("--", "--steps", str(steps), "--seed", str(seed), "--validate-every-epochs", "1000", "--tracker", "none"),
    )
    yield (
        "trainer.evaluate",
        *("--checkpoint", str(folder / "best"), "--data", str(output / "data" / "miniature" / "packed-samples")),
        *("--splits", *TEST, "--output", str(folder / "evaluation")),
    )
