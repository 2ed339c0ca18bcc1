from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.evaluation.bootstrap import ConfidenceInterval
from workflows.augment import AugmentConfig
from workflows.cli.console import UserError
from workflows.cli.steps import Step, run_steps
from workflows.demo.__main__ import DemoConfig, main
from workflows.demo.plan import SIZES, list_steps
from workflows.demo.result import SEVERAL, Group, describe_result
from workflows.miniature.world.dataset import WorldConfig
from workflows.train import MINIATURE_STEPS


def test_the_full_demo_and_the_single_steps_share_their_defaults() -> None:
    size, world = SIZES["full"], WorldConfig()
    assert (size.num_train, size.num_val, size.num_test) == (world.num_train, world.num_val, world.num_test)
    assert size.num_scenes == AugmentConfig().num_scenes
    assert size.steps == MINIATURE_STEPS


def test_both_networks_train_as_long_from_the_same_weights_and_seed() -> None:
    base, both = (lane[0] for lane in list(list_steps(Path("demo"), SIZES["short"], seed=3))[-1].lanes)
    assert [one.replace("both", "base") for one in both] == list(base)
    assert "--steps 3000 --seed 3" in shlex.join(base)


@pytest.mark.slow
def test_the_smoke_demo_runs_every_step_once_and_writes_a_page_that_loads_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = DemoConfig(size="smoke", output=tmp_path)
    main(config)
    summary, page = json.loads((tmp_path / "demo.json").read_text()), (tmp_path / "index.html").read_text()
    assert list(summary["seconds"]) == [step.name for step in list_steps(tmp_path, SIZES["smoke"], 0)]
    assert {group["name"] for group in summary["groups"]} >= {"all test queries", SEVERAL}
    assert all(line in page for line in summary["closing"])
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "http" not in page and "url(" not in page
    assert page.count("<code>") >= 6  # programs of scenes
    assert page.count("<img ") == 2 + 6 + 24  # a query and its prior, scenes, answers of both networks
    assert page.count("without generated data: ") == 12
    written = (tmp_path / "steps.json").stat().st_mtime_ns
    capsys.readouterr()
    main(config)
    assert "done before" in capsys.readouterr().err
    assert json.loads((tmp_path / "demo.json").read_text())["seconds"] == summary["seconds"]
    assert (tmp_path / "steps.json").stat().st_mtime_ns == written


PRINT = ("calendar", "--type", "text")


def test_steps_after_a_changed_one_run_again(tmp_path: Path) -> None:
    first, second = (Step(name=name, expected_s=1, lanes=((PRINT,),)) for name in ("first", "second"))
    run_steps([first, second], tmp_path)
    times = dict(run_steps([first, second], tmp_path))
    assert run_steps([first, second], tmp_path) == times
    run_steps([replace(first, lanes=((("calendar", "--type", "html"),),)), second], tmp_path)
    assert (tmp_path / "log" / "second.txt").read_text().count("$ python -m calendar") == 2


def test_a_failing_step_names_its_log_and_ends_the_other_lane(tmp_path: Path) -> None:
    waiting, failing = ("http.server", "0", "--bind", "127.0.0.1"), ("calendar", "--type", "nosuch")
    with pytest.raises(UserError, match=r"calendar ended with status 2: .*invalid choice.*start-1.txt"):
        run_steps([Step(name="start", expected_s=1, lanes=((failing,), (waiting,)))], tmp_path)


def _make_groups(mean: float, low: float, high: float) -> list[Group]:
    several = ConfidenceInterval(mean=mean, low=low, high=high)
    equal = ConfidenceInterval(mean=0.0, low=-0.1, high=0.1)
    return [
        Group(name="all test queries", num_queries=1500, base=0.5, both=0.5, difference=equal),
        Group(name=SEVERAL, num_queries=1200, base=0.3, both=0.3 + mean, difference=several),
    ]


def test_the_closing_lines_name_a_gain() -> None:
    assert describe_result(_make_groups(0.2, 0.15, 0.25)) == (
        "Generated data helps: with two or more distractors, 30.0 % of 1,200 answers are right without generated data, "
        "50.0 % with it (+20.0 points, +15.0 to +25.0).",
        "Look at the groups with the highest and the lowest difference: two or more distractors "
        "(+20.0 points, +15.0 to +25.0) and all test queries (+0.0 points, -10.0 to +10.0).",
        "Try make demo SIZE=full: with thousands of training queries the gain shrinks.",
    )


def test_what_to_try_after_a_full_demo_is_a_short_one() -> None:
    assert describe_result(_make_groups(0.2, 0.15, 0.25), "full")[2].startswith("Try make demo, with fewer")


def test_the_closing_lines_name_a_loss() -> None:
    shown, look_at, following = describe_result(_make_groups(-0.1, -0.15, -0.05))
    assert shown.startswith("Generated data harms: with two or more distractors, 30.0 % of 1,200")
    assert look_at.endswith("and two or more distractors (-10.0 points, -15.0 to -5.0).")
    assert "--seed 1" in following


def test_the_closing_lines_of_a_tie_claim_no_effect() -> None:
    shown, look_at, following = describe_result(_make_groups(0.02, -0.01, 0.05))
    assert shown.startswith("This run shows no effect of generated data")
    assert look_at == "Look at the interval: it is 6.0 points wide, and smaller effects do not show."
    assert "--seed 1" in following


def test_the_closing_lines_of_untrained_networks_claim_nothing() -> None:
    assert "ignore the figures" in describe_result(_make_groups(0.2, 0.15, 0.25), "smoke")[0]
