from __future__ import annotations

import fcntl
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from upath import UPath

from shards.reader import SampleReader
from shards.schema import Query, Sample
from trainer.evaluation.metrics import PredictionRecord
from workflows import generate_priors, ingest, pack
from workflows.cli.console import UserError
from workflows.miniature import WEIGHTS
from workflows.miniature.world.dataset import WorldConfig, write_dataset
from workflows.study.__main__ import TEST, StudyConfig
from workflows.study.cross_validate import CrossValidateConfig, assign_folds, main
from workflows.study.figures import COMPARISONS, compute_difference, make_groups, report, summarize_seeds
from workflows.study.sample_stages import SampleQueriesStage
from workflows.study.tables import format_markdown
from workflows.study.training_sets import HoldOutColorsStage, prepare_data, shuffle_priors
from workflows.study.trials import list_trials
from workflows.study.variants import VARIANTS, VARIANTS_BY_NAME

SPLITS = ("train", "val")


def _judged(right: Sequence[bool], distractors: int = 2) -> list[PredictionRecord]:
    """Two queries a image, of which those that are right have an IoU of 0.8."""
    return [
        PredictionRecord(
            key=f"image-{i // 2}",
            query_id=f"q{i}",
            text="left cup" if i % 2 else "red cup",
            split="testA" if i < 4 else "testB",
            source="miniature",
            num_distractors=distractors,
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
    found = summarize_seeds([0.1, 0.2, 0.3])
    # t(0.975, 2) = 4.3027, s = 0.1: 4.3027 x 0.1 / sqrt(3)
    assert found["mean"] == pytest.approx(0.2)
    assert (found["low"], found["high"]) == pytest.approx((0.2 - 0.24842, 0.2 + 0.24842), abs=1e-4)
    assert summarize_seeds([0.5]) == {"mean": 0.5, "low": None, "high": None, "num_seeds": 1}


def test_differences_are_paired_by_query_and_by_seed() -> None:
    answers = {
        (500, "both", 0): _judged([True, True, True, False, True, False]),
        (500, "base", 0): _judged([False, True, False, False, True, False]),
        (500, "both", 1): _judged([True, True, True, True, True, True]),
        (500, "base", 1): _judged([True, True, True, True, True, False]),
        (500, "base", 2): _judged([False] * 6),
    }
    everything = next(one for one in make_groups(answers[500, "both", 0], (), TEST) if one.name == "test")
    found = compute_difference(answers, 500, "both", "base", everything)
    assert found is not None and found["num_queries"] == 6
    assert found["over_seeds"]["num_seeds"] == 2
    assert found["over_seeds"]["mean"] == pytest.approx((2 / 6 + 1 / 6) / 2)
    assert found["over_images"]["mean"] == pytest.approx(0.25)
    assert compute_difference(answers, 500, "both", "scenes", everything) is None


def test_groups_say_which_queries_a_comparison_is_about() -> None:
    judged = [*_judged([True] * 6), replace(_judged([True])[0], split="val", query_id="v", text="second cup from left")]
    judged.append(replace(judged[-1], query_id="w", text="red cup"))
    judged[0] = replace(judged[0], text="purple cup", num_distractors=1)
    judged[4] = replace(judged[4], text="third cup from the right")
    chosen = {one.name: [j.query_id for j in judged if one.holds(j)] for one in make_groups(judged, {"q1", "q5"}, TEST)}
    assert chosen["unseen combinations"] == ["q1", "q5"]
    assert chosen["seen combinations"] == ["q0", "q2", "q3"]
    assert chosen["held-out colors"] == ["q0"] and chosen["other colors"] == ["q1", "q2", "q3"]
    assert chosen["val, positional"] == ["v"] and chosen["val, not positional"] == ["w"]
    assert chosen["ordinal"] == ["q4"]
    assert chosen["one distractor"] == ["q0"] and chosen["two or more distractors"] == [f"q{i}" for i in range(1, 6)]
    assert chosen["testB"] == ["q4", "q5"] and chosen["val"] == ["v", "w"]
    assert chosen["test"] == [f"q{i}" for i in range(6)]


def test_comparisons_name_existing_variants_and_groups() -> None:
    names = {one.name for one in make_groups(_judged([True] * 6), (), TEST)}
    for one in COMPARISONS:
        assert one.first in VARIANTS_BY_NAME and one.second in VARIANTS_BY_NAME and one.group in names
    compared = {name for one in COMPARISONS for name in (one.first, one.second)}
    assert compared == VARIANTS_BY_NAME.keys()


def test_the_report_has_levels_and_differences_and_becomes_a_table() -> None:
    with_priors, without = [True, True, False, True, True, False], [False, True, False, True, True, False]
    modes = {
        (500, variant, seed): {"own": _judged(with_priors), "none": _judged(without)}
        if variant == "both"
        else {"none": _judged(without)}
        for variant in ("base", "both")
        for seed in (0, 1)
    }
    seconds = {"500": {"both": 90.0}}
    record = {
        "networks": {"finished": 4, "all": 9},
        "steps": 10,
        "cost": seconds,
        "data_seconds": {"priors": 150.0},
        "extra_data": {"prompted": {"images": 7, "queries": 1234}},
        **report(modes, {"q0"}, TEST),
    }
    assert record["levels"]["500"]["both"]["test"]["accuracy"]["mean"] == pytest.approx(4 / 6)
    assert [(one["first"], one["second"]) for one in record["comparisons"]] == [("both", "base")] * 2
    (gain,) = record["prior_sensitivity"]
    assert (gain["variant"], gain["priors"]) == ("both", "none")
    assert gain["over_seeds"]["mean"] == pytest.approx(1 / 6)
    text = format_markdown(record)
    assert "4 of 9 networks" in text and "| both | 2 |" in text and "+16.7" in text and " 1.5 |" in text
    assert "priors 2.5." in text and "prompted 7, 1,234." in text


@pytest.mark.parametrize(("low", "high", "sign"), [(0.01, 0.03, "+"), (-0.03, -0.01, "-"), (-0.01, 0.03, "")])
def test_a_sign_stands_where_both_intervals_are_clear_of_zero(low: float, high: float, sign: str) -> None:
    interval = {"mean": (low + high) / 2, "low": low, "high": high, "num_seeds": 3}
    one = {"question": "?", "first": "a", "second": "b", "group": "test", "size": 500, "num_queries": 9}
    record = {
        "networks": {"finished": 1, "all": 1},
        "steps": 1,
        "levels": {},
        "cost": {},
        "comparisons": [{**one, "over_seeds": interval, "over_images": interval}],
        "prior_sensitivity": [],
    }
    (line,) = (line for line in format_markdown(record).splitlines() if "| ? |" in line)
    assert line.endswith(f" | {sign} |")


def test_shuffled_priors_are_never_the_query_s_own_and_each_as_often_as_before() -> None:
    ids = {f"q{i}": f"prior-{min(i, 6)}" for i in range(12)}  # one of them six times, which is half of all
    given = shuffle_priors(list(ids), ids)
    assert len({given[query] for query, prior in ids.items() if prior == "prior-6"}) > 2  # drawn, not renamed
    assert all(given[query] != own for query, own in ids.items())
    assert Counter(given.values()) == Counter(ids.values())


def test_withheld_words_leave_training_with_their_priors_and_stay_in_test() -> None:
    texts = {"the pink cup": "train", "left cup": "train", "purple ball": "testA"}
    sample = Sample(
        key="a",
        width=10,
        height=10,
        image_name="a",
        image=b"",
        instances=(),
        queries=tuple(
            Query(query_id=text, text=text, box_xyxy=(0, 0, 5, 5), split=split, source="toy")
            for text, split in texts.items()
        ),
        priors=np.arange(6, dtype=np.float16).reshape(3, 2),
    )
    (kept,) = HoldOutColorsStage().process([sample])
    assert isinstance(kept, Sample) and kept.priors is not None
    assert [one.text for one in kept.queries] == ["left cup", "purple ball"]
    assert kept.priors.tolist() == [[2, 3], [4, 5]]
    (fewer,) = SampleQueriesStage({"a": 2}).process([sample])
    assert isinstance(fewer, Sample) and fewer.priors is not None and len(fewer.queries) == 2
    rows = {query.text: row for query, row in zip(sample.queries, sample.priors.tolist(), strict=True)}
    assert [rows[one.text] for one in fewer.queries] == fewer.priors.tolist()


def test_main_variants_have_all_seeds_and_controls_fewer_and_some_have_all_sizes() -> None:
    every = list(list_trials((500, 2000), VARIANTS, num_seeds=3, num_control_seeds=2, control_size=2000))
    trained = {variant.name: [(one.size, one.seed) for one in every if one.variant == variant] for variant in VARIANTS}
    assert trained["both"] == [(500, 0), (2000, 0), (500, 1), (2000, 1), (500, 2), (2000, 2)]
    assert trained["prompts without attributes"] == trained["both"]
    assert trained["pasted scenes"] == [(500, 0), (2000, 0), (500, 1), (2000, 1)]
    assert trained["Pseudo-Q's rules"] == [(2000, 0), (2000, 1), (2000, 2)]
    assert trained["oracle priors"] == [(2000, 0), (2000, 1)]
    assert all(trained[variant.name] == trained["both"] for variant in VARIANTS if variant.is_main)
    assert [one.seed for one in every] == sorted(one.seed for one in every)
    assert len({str(one.folder(StudyConfig().output)) for one in every}) == len(every)


def test_a_study_that_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match=r"unknown variants \['magic'\]; choose from base"):
        StudyConfig(variants=("magic",))
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


def test_samples_of_one_photograph_are_in_one_fold() -> None:
    folds = assign_folds(["a.jpg", "b.jpg", "a.jpg", "c.jpg", "d.jpg", "b.jpg"], 2)
    assert folds[0] == folds[2] and folds[1] == folds[5]
    assert sorted(dict(zip("abacdb", folds, strict=True)).values()) == [0, 0, 1, 1]


def test_a_training_that_fails_says_why_and_where(data: UPath, tmp_path: Path) -> None:
    config = CrossValidateConfig(
        dataset="miniature",
        data=data,
        folds=2,
        variants=("base",),
        pretrained_visual=tmp_path / "none",
        output=tmp_path,
    )
    with pytest.raises(UserError, match=r"base, .* ended with status 1: .*none.*log\.txt"):
        main(config)


def test_a_cross_validation_that_cannot_be_is_refused(data: UPath, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown variants \['oracle priors'\]"):
        CrossValidateConfig(dataset="miniature", variants=("oracle priors",))
    with pytest.raises(UserError, match="run `make pack` first"):
        main(CrossValidateConfig(dataset="mine", data=data, output=tmp_path))
    with pytest.raises(UserError, match="run `make augment` first"):
        main(CrossValidateConfig(dataset="miniature", data=data, output=tmp_path, scenes=UPath(tmp_path / "none")))
    with pytest.raises(UserError, match="has 10 images, too few for 12 folds"):
        main(CrossValidateConfig(dataset="miniature", data=data, output=tmp_path, folds=12, variants=("base",)))


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


def test_the_study_refuses_the_world_of_another_one_and_may_be_moved(tmp_path: Path) -> None:
    config = StudyConfig(
        output=tmp_path / "here", sizes=(8,), control_size=8, num_scenes=1, num_val=1, num_test=1, variants=("base",)
    )
    prepare_data(config.data, [])
    with pytest.raises(UserError, match=r"has the data of another study .* choose another --output"):
        prepare_data(replace(config, num_test=2).data, [])
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    prepare_data(replace(config, output=tmp_path / "there").data, [])
