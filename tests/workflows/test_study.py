from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from upath import UPath

from shards.reader import SampleReader
from trainer.metrics import Judgement
from workflows import generate_priors, ingest, pack
from workflows.console import UserError
from workflows.miniature.world import WorldConfig, write_dataset
from workflows.presets.miniature import WEIGHTS
from workflows.study.arms import ARMS, BY_NAME
from workflows.study.cells import cells
from workflows.study.cross_validate import CrossValidateConfig, main
from workflows.study.figures import CLAIMS, difference, groups, over_seeds, report
from workflows.study.study import StudyConfig
from workflows.study.tables import markdown

SPLITS = ("train", "val")


def _judged(right: Sequence[bool], rivals: int = 2) -> list[Judgement]:
    """Two queries a picture, of which those that are right have an IoU of 0.8."""
    return [
        Judgement(
            key=f"picture-{i // 2}",
            query_id=f"q{i}",
            text="left cup" if i % 2 else "red cup",
            split="testA" if i < 4 else "testB",
            source="miniature",
            num_rivals=rivals,
            category="cup",
            target_share=0.1,
            box_xyxy=(0, 0, 1, 1),
            target_xyxy=(0, 0, 1, 1),
            iou=0.8 if one else 0.1,
            any_iou=0.8 if one else 0.1,
        )
        for i, one in enumerate(right)
    ]


def test_a_mean_over_seeds_has_students_interval() -> None:
    found = over_seeds([0.1, 0.2, 0.3])
    # t(0.975, 2) = 4.3027, s = 0.1: 4.3027 x 0.1 / sqrt(3)
    assert found["mean"] == pytest.approx(0.2)
    assert (found["low"], found["high"]) == pytest.approx((0.2 - 0.24842, 0.2 + 0.24842), abs=1e-4)
    assert over_seeds([0.5]) == {"mean": 0.5, "low": None, "high": None, "seeds": 1}


def test_differences_are_paired_by_query_and_by_seed() -> None:
    answers = {
        (500, "both", 0): _judged([True, True, True, False, True, False]),
        (500, "base", 0): _judged([False, True, False, False, True, False]),
        (500, "both", 1): _judged([True, True, True, True, True, True]),
        (500, "base", 1): _judged([True, True, True, True, True, False]),
        (500, "base", 2): _judged([False] * 6),
    }
    everything = next(one for one in groups(answers[500, "both", 0], ()) if one.name == "all")
    found = difference(answers, 500, "both", "base", everything)
    assert found is not None and found["num_queries"] == 6
    assert found["over_seeds"]["seeds"] == 2
    assert found["over_seeds"]["mean"] == pytest.approx((2 / 6 + 1 / 6) / 2)
    assert found["over_pictures"]["mean"] == pytest.approx(0.25)
    assert difference(answers, 500, "both", "scenes", everything) is None


def test_groups_say_which_queries_a_claim_is_about() -> None:
    judged = _judged([True] * 6)
    chosen = {one.name: [j.query_id for j in judged if one.holds(j)] for one in groups(judged, {"q1", "q5"})}
    assert chosen["unseen combinations"] == ["q1", "q5"]
    assert chosen["seen combinations"] == ["q0", "q2", "q3"]
    assert chosen["positional"] == ["q1", "q3", "q5"] and chosen["not positional"] == ["q0", "q2", "q4"]
    assert chosen["two or more rivals"] == [f"q{i}" for i in range(6)] and not chosen["no rival"]
    assert chosen["testB"] == ["q4", "q5"]


def test_claims_are_about_arms_and_groups_that_there_are() -> None:
    names = {one.name for one in groups(_judged([True]), ())}
    for claim in CLAIMS:
        assert claim.better in BY_NAME and claim.worse in BY_NAME and claim.group in names


def test_the_report_has_levels_and_claims_and_becomes_a_table() -> None:
    answers = {
        (500, arm, seed): _judged([arm == "both", True, False, True, True, False])
        for arm in ("base", "both")
        for seed in (0, 1)
    }
    seconds = {"500": {"both": 90.0}}
    record = {"networks": {"finished": 4, "all": 9}, "steps": 10, "cost": seconds, **report(answers, {"q0"})}
    assert record["levels"]["500"]["both"]["all"]["accuracy"]["mean"] == pytest.approx(4 / 6)
    assert [claim["text"] for claim in record["claims"]] == ["priors and scenes help among rivals"]
    text = markdown(record)
    assert "4 of 9 networks" in text and "| both | 2 |" in text and "+16.7" in text and " 1.5 |" in text


def test_main_arms_have_all_sizes_and_seeds_and_controls_fewer() -> None:
    every = list(cells((500, 2000), ARMS, seeds=3, control_seeds=2, control_size=2000))
    everywhere = [arm for arm in ARMS if arm.everywhere and not arm.is_main]
    once = [arm for arm in ARMS if not arm.at_all_sizes]
    assert len(every) == 4 * 2 * 3 + len(everywhere) * 2 * 2 + len(once) * 2
    assert [one.seed for one in every] == sorted(one.seed for one in every)
    assert len({str(one.folder(StudyConfig().output)) for one in every}) == len(every)


def test_a_study_that_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match=r"no arms \['magic'\]; there are base"):
        StudyConfig(arms=("magic",))
    with pytest.raises(UserError, match="control_size must be one of the sizes"):
        StudyConfig(sizes=(500,))


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


def test_cross_validation_asks_every_query_of_a_network_that_has_not_seen_its_picture(
    data: UPath, tmp_path: Path
) -> None:
    config = CrossValidateConfig(
        dataset="miniature",
        data=data,
        folds=2,
        arms=("base", "priors"),
        steps=1,
        visual_start=WEIGHTS / "detector",
        output=tmp_path,
    )
    main(config)
    whole = SampleReader(data / "miniature" / "packed-samples")
    for number in range(2):
        train, val = ({e.key for e in SampleReader(tmp_path / "data" / f"fold-{number}", s).index} for s in SPLITS)
        assert not train & val and train | val == {entry.key for entry in whole.index}
    record = json.loads((tmp_path / "results.json").read_text())
    of_size = record["levels"][str(whole.num_queries)]
    assert {arm: of["all"]["num_queries"] for arm, of in of_size.items()} == dict.fromkeys(
        ("base", "priors"), whole.num_queries
    )
    assert "| base |" in (tmp_path / "results.md").read_text()

    written = (tmp_path / str(whole.num_queries) / "base" / "seed-0" / "predictions.jsonl").stat().st_mtime_ns
    main(config)  # finds everything done
    assert (tmp_path / str(whole.num_queries) / "base" / "seed-0" / "predictions.jsonl").stat().st_mtime_ns == written
    with pytest.raises(UserError, match="was trained in another way"):
        main(replace(config, steps=2))


def test_a_training_that_fails_says_why_and_where(data: UPath, tmp_path: Path) -> None:
    config = CrossValidateConfig(
        dataset="miniature", data=data, folds=2, arms=("base",), visual_start=tmp_path / "none", output=tmp_path
    )
    with pytest.raises(UserError, match=r"base, .* ended with status 1: .*none.*log\.txt"):
        main(config)


def test_a_cross_validation_that_cannot_be_is_refused(data: UPath, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no arms \['oracle priors'\] without a world"):
        CrossValidateConfig(dataset="miniature", arms=("oracle priors",))
    with pytest.raises(UserError, match="run `make pack` first"):
        main(CrossValidateConfig(dataset="mine", data=data, output=tmp_path))
    with pytest.raises(UserError, match="run `make augment` first"):
        main(CrossValidateConfig(dataset="miniature", data=data, output=tmp_path, scenes=UPath(tmp_path / "none")))
    with pytest.raises(UserError, match="holds 10 pictures, too few for 12 folds"):
        main(CrossValidateConfig(dataset="miniature", data=data, output=tmp_path, folds=12, arms=("base",)))
