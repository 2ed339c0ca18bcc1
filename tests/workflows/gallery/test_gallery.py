from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from upath import UPath

from generation.models.webp import encode_webp
from generation.priors.prior import GeneratedImages, Prior
from generation.priors.store import PriorSink
from pipeline import ExecutorConfig, Item, Job, MapStage, PlanRow, run_job
from workflows import ingest
from workflows.cli.console import UserError
from workflows.gallery import __main__ as gallery
from workflows.miniature.world.dataset import WorldConfig, write_dataset
from workflows.presets import miniature
from workflows.priors.config import find_prior_store_path
from workflows.priors.query_parsing import Queries, parse_queries


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> UPath:
    folder = tmp_path_factory.mktemp("world")
    write_dataset(WorldConfig(output=folder, num_train=2, num_val=4, num_test=1))
    annotations, images = UPath(folder / "miniature"), UPath(folder / "images")
    ingest.main(ingest.IngestConfig(annotations=annotations, images=images, data=UPath(folder / "data")))
    return UPath(folder / "data")


class MakePriors(MapStage[Item, Prior]):
    """Makes a prior of a red image for each row."""

    def process_item(self, item: Item) -> Prior:
        generated = GeneratedImages(
            prompt="a red cup",
            images=(),
            feature=np.ones(4, np.float16),
            clip_score=None,
            compressed=(encode_webp(np.full((8, 8, 3), (200, 0, 0), np.uint8), None),),
        )
        return Prior(prior_id=item.key, generated=generated)


def write_priors(prior_ids: list[str], run: UPath) -> None:
    rows = [PlanRow(key=one, payload={}) for one in prior_ids]
    job = Job(name="priors", fingerprint={}, inputs=lambda: rows, stages=[MakePriors()], sink=PriorSink({}, "clip"))
    run_job(job, run)


def test_a_folder_of_something_else_is_refused(data: UPath, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be shown \(it contains no run\); pass a run of"):
        gallery.main(gallery.GalleryConfig(run=UPath(tmp_path), output=tmp_path / "gallery"))
    write_priors(["0" * 32], find_prior_store_path("miniature", data) / "0001")  # all datasets share it
    with pytest.raises(UserError, match="has no run of the dataset other"):
        gallery.main(gallery.GalleryConfig(dataset="other", data=data, output=tmp_path / "gallery"))
    assert not (tmp_path / "gallery").exists()


def test_priors_of_other_datasets_are_left_out(data: UPath, tmp_path: Path) -> None:
    parsed = list(parse_queries(Queries(data=data), miniature.prior_config(), ExecutorConfig()))
    prior_id = next(query.prior_id for query in parsed if query.prior_id)
    write_priors([prior_id, "f" * 32], find_prior_store_path("miniature", data) / "0002")
    gallery.main(gallery.GalleryConfig(data=data, output=tmp_path / "gallery"))
    texts = "".join(path.read_text() for path in (tmp_path / "gallery" / "data").glob("items-*.js"))
    assert prior_id in texts and "f" * 32 not in texts
