from __future__ import annotations

import fcntl
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from upath import UPath

from shards.reader import SampleReader
from workflows import generate_priors, ingest, pack
from workflows.cli.console import UserError
from workflows.miniature import WEIGHTS
from workflows.miniature.world.dataset import WorldConfig, write_dataset
from workflows.study.cross_validate import CrossValidateConfig, assign_folds, main

SPLITS = ("train", "val")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> UPath:
    """A tiny world with its priors, packed."""
    root = tmp_path_factory.mktemp("study")
    world = WorldConfig(output=root / "refer", num_train=5, num_val=2, num_test=2)
    write_dataset(world)
    data = UPath(root / "data")
    ingest.main(
        ingest.IngestConfig(
            annotations=UPath(world.output / "miniature"), images=UPath(world.output / "images"), data=data
        )
    )
    generate_priors.main(generate_priors.GeneratePriorsConfig(data=data))
    pack.main(pack.PackConfig(data=data))
    return data


@pytest.mark.slow
def test_cross_validation_asks_every_query_of_a_network_that_has_not_seen_its_image(
    data: UPath, tmp_path: Path
) -> None:
    config = CrossValidateConfig(
        dataset="miniature",
        data=data,
        folds=2,
        variants=("base", "priors"),
        steps=1,
        pretrained_visual=WEIGHTS / "detector",
        output=tmp_path,
    )
    main(config)
    whole = SampleReader(data / "miniature" / "packed-samples")
    for number in range(2):
        train, val = ({e.key for e in SampleReader(tmp_path / "data" / f"fold-{number}", s).index} for s in SPLITS)
        assert not train & val and train | val == {entry.key for entry in whole.index}
    record = json.loads((tmp_path / "results.json").read_text())
    (size,) = record["levels"]
    assert int(size) == whole.num_queries - whole.num_queries // 2
    of_size = record["levels"][size]
    assert {variant: of["test"]["num_queries"] for variant, of in of_size.items()} == dict.fromkeys(
        ("base", "priors"), whole.num_queries
    )
    assert "| base |" in (tmp_path / "results.md").read_text()

    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    shutil.copytree(tmp_path, moved)
    for place in (tmp_path, moved):
        predictions = place / size / "base" / "seed-0" / "predictions.jsonl"
        written = predictions.stat().st_mtime_ns
        main(replace(config, output=place))  # finds everything done
        assert predictions.stat().st_mtime_ns == written
    with pytest.raises(UserError, match="was trained in another way"):
        main(replace(config, steps=2))


def test_samples_of_one_image_are_in_one_fold() -> None:
    folds = assign_folds(["a.jpg", "b.jpg", "a.jpg", "c.jpg", "d.jpg", "b.jpg"], 2)
    assert folds[0] == folds[2] and folds[1] == folds[5]
    assert sorted(dict(zip("abacdb", folds, strict=True)).values()) == [0, 0, 1, 1]


@pytest.mark.slow
def test_a_training_that_fails_says_why_and_where(data: UPath, tmp_path: Path) -> None:
    config = CrossValidateConfig(
        dataset="miniature",
        data=data,
        folds=2,
        variants=("base",),
        pretrained_visual=tmp_path / "none",
        output=tmp_path,
    )
    with pytest.raises(UserError, match=r"base, .* ended with status 2: .*none.*log\.txt"):
        main(config)


@pytest.mark.slow
def test_a_cross_validation_that_cannot_be_is_refused(data: UPath, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown variants \['oracle priors'\]"):
        CrossValidateConfig(dataset="miniature", variants=("oracle priors",))
    with pytest.raises(UserError, match="run `make pack` first"):
        main(CrossValidateConfig(dataset="mine", data=data, output=tmp_path))
    with pytest.raises(UserError, match="run `make augment` first"):
        main(CrossValidateConfig(dataset="miniature", data=data, output=tmp_path, scenes=UPath(tmp_path / "none")))
    with pytest.raises(UserError, match="has 10 images, too few for 12 folds"):
        main(CrossValidateConfig(dataset="miniature", data=data, output=tmp_path, folds=12, variants=("base",)))


@pytest.mark.slow
def test_a_network_that_is_being_trained_is_left_alone(data: UPath, tmp_path: Path) -> None:
    config = CrossValidateConfig(
        dataset="miniature",
        data=data,
        folds=2,
        variants=("base",),
        steps=1,
        pretrained_visual=WEIGHTS / "detector",
        output=tmp_path,
    )
    num_queries = SampleReader(data / "miniature" / "packed-samples").num_queries
    folder = tmp_path / str(num_queries - num_queries // 2) / "base" / "seed-1"
    folder.mkdir(parents=True)
    with (folder / "log.txt").open("ab") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"seed-1 is being trained by another process; wait for that process"):
            main(config)
