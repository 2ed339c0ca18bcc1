"""README and docs say what is true: every command is run, every piece of Python too, and the site builds."""

from __future__ import annotations

import importlib
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from documented import PAGES, ROOT, Shown, blocks, commands, furnish, modules_run

sys.path.pop(0)

SMALLER = {"workflows.augment": ["--num-scenes", "16"], "workflows.train": ["--epochs", "1"]}
"""What comes before the arguments of a page, so that the default takes seconds."""

NOT_RUN = {
    r"make (setup|check|test|format)": "is what runs this test",
    r"make fuzz": "is part of the tests, in a smaller size",
    r"make demo": "runs beside the tests, in its smallest size",
    r"make (notebook|docs)": "has a test of its own",
    r"make (app|gallery ARGS)|http\.server": "serves until it is stopped; driven by the browser's tests",
    r"make (faults|benchmark-\w+|miniature-models)": "takes from minutes to hours",
    r"s3://": "asks for a bucket; tests/workflows/test_object_store.py has one",
    r"^(ray job submit|sbatch)": "asks for a cluster; tests/workflows/test_cluster.py has one",
}
"""Commands of which only the target or the module is looked up, and why."""

NOT_AT_HAND = {
    r"--preset sd15": r"stable-diffusion-v1-5|needs 1 GPU",
    r"augment.*--dataset refcoco": r"rtdetr_r50vd|stable-diffusion|cut-outs",
    r"--detr detr": r"detr-r50-unc\.pth|packed-scenes does not exist",
    r"--visual-start detr": r"detr-r50-e632da11\.pth|bert-base-uncased",
    r"train.*--recipe published": r"bert-base-uncased",
    r"dataset refcoco.*--checkpoint": r"does not exist",
    r"trainer.checkpoints import": r"resvg_refcoco\.pth",
    r"trainer.checkpoints export": r"runs/refcoco-both/best",
    r"workflows.status data/refcoco/scenes": r"data/refcoco/scenes",
    r"cut-out.*coco": r"nothing was cut out",
    r"--format referit": r"referit",
    r"--format flickr30k": r"flickr30k",
    r"ingest.*--format (grounding|odvg)": r"mdetr|flickr30k-images",
}
"""Commands that need full-size weights or other people's files, and what their one-line error names."""


def _matching(rules: dict[str, str], command: Shown) -> str | None:
    return next((value for rule, value in rules.items() if re.search(rule, command.text)), None)


EVERY = [command for page in PAGES for command in commands(page)]


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("newcomer")
    furnish(folder)
    return folder


def _run(module: str, arguments: list[str]) -> int:
    """Exit status of ``python -m module``, in this process."""
    sys.argv = [module, *SMALLER.get(module, []), *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as exited:
        if isinstance(exited.code, str):
            print(exited.code, file=sys.stderr)
            return 1
        return exited.code or 0
    return 0


def test_there_are_commands() -> None:
    assert len(EVERY) > 60 and {command.page for command in EVERY} > {"README.md", "docs/datasets.md", "docs/faq.md"}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of modules that are run and were imported before
def test_every_command_does_what_the_page_says_or_names_what_is_missing(
    newcomer: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the order of the pages, in one folder: what a command needs, one before it has made."""
    monkeypatch.chdir(newcomer)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(sys, "argv", sys.argv)
    wrong, done = [], set()
    for command in EVERY:
        if command.text in done:
            continue
        done.add(command.text)
        for module, arguments in modules_run(command.text):
            if _matching(NOT_RUN, command):
                assert importlib.util.find_spec(module), command
                continue
            if module == "workflows.miniature.world":
                continue  # of which there is a small one
            status, (out, err) = _run(module, arguments), capfd.readouterr()
            missing = _matching(NOT_AT_HAND, command)
            if status == 0 and missing is None:
                continue
            told = [line for line in err.splitlines() if line.startswith("error: ")]
            if not (status in (1, 2) and missing and told and re.search(missing, told[-1])):
                wrong.append(f"{command}\n    status {status}: {told or (out + err)[-600:]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_pieces_of_python_run(page: str, newcomer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(newcomer)
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), {"__name__": "shown"})


def test_links_of_the_readme_lead_somewhere() -> None:
    for page in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text()):
            assert target.startswith("http") or (ROOT / target).exists(), f"{page} links to {target}"


def test_make_knows_every_target_that_a_page_names() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text()):
            assert target in targets, f"{page} names make {target}"


def test_the_site_builds_without_a_warning_and_asks_for_nothing_outside(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    command = [shutil.which("mkdocs", path=Path(sys.executable).parent) or "mkdocs", "build", "--strict"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [*command, "--site-dir", str(tmp_path / "site")], cwd=ROOT, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    page = (tmp_path / "site" / "concepts.html").read_text()
    assert "Relation-sensitive scenes" in page
    assert not re.findall(r'(?:src|href)="(https?://[^"]+\.(?:js|css|woff2?))"', page)
    drawn = (tmp_path / "site" / "rooms.svg").read_text()
    assert all(f">{room}/" in drawn for room in ("pipeline", "shards", "generation", "augmentation", "trainer"))
