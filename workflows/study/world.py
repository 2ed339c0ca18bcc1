"""World of a study: its images, samples and priors, and the folders of all its data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from upath import UPath

from augmentation.planning.quotas import QuotaConfig
from pipeline import ExecutorConfig, LimitedConfig, PositiveInt, write_atomic
from shards.reader import SampleReader
from workflows import generate_priors, ingest
from workflows.cli.console import Executor, UserError
from workflows.cli.paths import DatasetPaths, get_dataset_paths
from workflows.miniature.world.dataset import WorldConfig, write_dataset
from workflows.priors.query_parsing import QuerySource
from workflows.study.trials import Trial
from workflows.study.variants import Variant

QUERIES_PER_IMAGE = 3.5
"""Queries per training image, a little below the world's, so that there are enough images."""

EXPECTED_YIELD = 0.5
"""Upper bound of the share of requested scenes that are trained on."""

SCENES_PER_QUOTA_QUERY = 120
"""Requested scenes per query of a quota, as in a dataset of the default size."""


EVALUATED_SPLITS = ("val", "testA", "testB")


class StudyFolders:
    """Folders of a study's data, for configurations with an ``output``."""

    output: Path

    @property
    def root(self) -> UPath:
        """Return the folder of the data."""
        return UPath(self.output / "data")

    @property
    def paths(self) -> DatasetPaths:
        return get_dataset_paths("miniature", self.root / "data")


@dataclass(frozen=True, kw_only=True)
class StudyData(StudyFolders, LimitedConfig):
    """Sizes and folders of the study's data."""

    sizes: tuple[int, ...] = (500, 2000, 8000)
    """Numbers of training queries, each at least 1 and all different."""

    num_scenes: PositiveInt = 3000
    """Number of scenes to request; about a third of them is accepted and selected."""

    num_val: int = 250
    """Images of val."""

    num_test: int = 400
    """Images of each of testA and testB."""

    world_seed: int = WorldConfig().seed
    """Seed of all images and queries."""

    output: Path = Path("runs/study")
    """Folder of the data, the networks and the results."""

    executor: Executor = field(default_factory=ExecutorConfig)

    @property
    def quotas(self) -> QuotaConfig:
        """Return quotas in proportion to the number of scenes."""
        return QuotaConfig(queries_per_quota=max(1, self.num_scenes // SCENES_PER_QUOTA_QUERY))

    @property
    def world(self) -> WorldConfig:
        """Return a world with images for the largest size, and further ones for as many as the expected scenes."""
        num_train = round(max(self.sizes) / QUERIES_PER_IMAGE) + round(EXPECTED_YIELD * self.num_scenes)
        refer = Path(str(self.root)) / "refer"
        return WorldConfig(
            output=refer,
            num_train=num_train,
            num_val=self.num_val,
            num_test=self.num_test,
            seed=self.world_seed,
        )

    def samples(self, trial: Trial) -> UPath:
        return self.root / "packed" / f"{trial.size}-{trial.variant.training_set}"

    def extra(self, variant: Variant) -> UPath | None:
        return None if variant.extra is None else self.root / "packed" / variant.extra

    def crop_features(self, variant: Variant) -> tuple[UPath, ...]:
        """Return the crop features of each run that the variant trains on."""
        sources = ("samples", "scenes") if variant.extra else ("samples",)
        return tuple(self.paths.get_crop_features_run(source) for source in sources)

    def further(self, variants: Iterable[Variant]) -> dict[str, dict[str, int]]:
        """Count images and queries of the variants' extra training data, by kind."""
        readers = {
            variant.extra: SampleReader(paths)
            for variant in variants
            if variant.extra and (paths := self.extra(variant))
        }
        return {kind: {"images": len(one), "queries": one.num_queries} for kind, one in readers.items()}

    def sum_stage_seconds(self) -> dict[str, float]:
        """Sum the seconds of the stages that make priors and scenes, over all processes."""
        data = self.root / "data"
        folders = {
            "priors": data / "priors",
            "prompted scenes": self.paths.scene_rounds,
            "scenes of prompts without attributes": get_dataset_paths("plain", data).scene_rounds,
            "pasted scenes": get_dataset_paths("pasted", data).scene_rounds,
        }
        return {
            name: round(
                sum(
                    sum(json.loads(report.read_text())["stage_seconds"].values())
                    for report in folder.rglob("report.json")
                ),
                1,
            )
            for name, folder in folders.items()
        }


def make_world(data: StudyData) -> None:
    """Draw images, ingest samples and render priors.

    Raises:
        UserError: the folder has another world.
    """
    ingest_world(data.world, data.root, data.executor)
    render_priors(data, "samples")


def ingest_world(world: WorldConfig, root: UPath, executor: ExecutorConfig) -> None:
    """Draw images, and ingest them into the folder ``data`` of a study.

    Raises:
        UserError: the folder has another world.
    """
    path, requested = root / "world.json", _get_world_settings(asdict(world))
    if not path.is_file():
        write_dataset(world)
        write_atomic(path, json.dumps(requested, indent=1))
    elif (existing := {"several_targets": False, **_get_world_settings(json.loads(path.read_text()))}) != requested:
        raise UserError(
            f"{root} has the data of another study ({existing} instead of {requested}); sizes, scenes, val and "
            "test cannot change there, so choose another --output"
        )
    ingest.main(
        ingest.IngestConfig(
            annotations=UPath(world.output / "miniature"),
            images=UPath(world.output / "images"),
            data=root / "data",
            executor=executor,
        )
    )


def _get_world_settings(world: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that decide a world's images, as JSON values; its folder does not."""
    values: dict[str, Any] = json.loads(json.dumps({name: one for name, one in world.items() if name != "output"}))
    return values


def render_priors(data: StudyData, source: QuerySource) -> None:
    generate_priors.main(
        generate_priors.GeneratePriorsConfig(source=source, data=data.root / "data", executor=data.executor)
    )
