"""README and docs say what is true: every command is run, every piece of Python too, and the site builds."""

from __future__ import annotations

import importlib
import os
import re
import runpy
import shutil
import subprocess
import sys
import typing
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import pytest
import tyro

sys.path.insert(0, str(Path(__file__).parent))
from documented import PAGES, ROOT, Shown, blocks, commands, furnish, modules_run

sys.path.pop(0)
from workflows.cli.console import UserError
from workflows.miniature import WEIGHTS

SMALLER = {
    "workflows.augment": ["--num-scenes", "16"],
    "workflows.train": ["--epochs", "1", "--pretrained-visual", str(WEIGHTS / "detector")],
}
"""What comes before the arguments of a page, so that the default takes seconds."""

NOT_RUN = {
    r"make (setup|check|test|format)": "is what runs this test",
    r"make fuzz": "is part of the tests, in a smaller size",
    r"make (demo|study|rehearsal)|workflows\.study\.targets": "runs beside the tests, in its smallest size",
    r"make (notebook|docs)": "has a test of its own",
    r"make (app|gallery ARGS)|http\.server": "serves until it is stopped; driven by the browser's tests",
    r"make (faults|benchmark|miniature-models)": "takes from minutes to hours",
    r"s3://": "needs a bucket; tests/workflows/test_object_store.py has one",
    r"^(ray job submit|sbatch)": "needs a cluster; tests/workflows/test_cluster.py has one",
}
"""Commands of which only the options are read, and why."""

NOT_AT_HAND = {
    r"cross-validate.*--dataset mine": r"too few for 5 folds",
    r"generate-priors.*--dataset (refcoco|mine)(?!.*preset miniature)": r"stable-diffusion-v1-5|needs 1 GPU",
    r"crop-features.*--dataset refcoco": r"refcoco/prior\.json does not exist",
    r"augment.*--dataset refcoco(?!.*photographs)": r"rtdetr_r50vd|stable-diffusion|cut-outs",
    r"--detr-weights detr": r"detr-r50-unc\.pth|packed-(samples|scenes) does not exist",
    r"--transformers-backbone facebook": r"dinov2-base|roberta-base",
    r"--pretrained-visual detr": r"detr-r50-e632da11\.pth|bert-base-uncased",
    r"dataset refcoco.*--checkpoint": r"does not exist",
    r"--predictions answers|A=runs/answers": r"answers(\.jsonl|/evaluation/predictions\.jsonl) does not exist",
    r"trainer.model.published_checkpoints import": r"resvg_refcoco\.pth",
    r"trainer.model.published_checkpoints export": r"runs/refcoco-both/best",
    r"make push": r"holds neither a network",
    r"cut-out.*coco": r"nothing was cut out",
    r"--format referit": r"referit",
    r"--format flickr30k": r"flickr30k",
    r"ingest.*--format (grounding|odvg)": r"mdetr|flickr30k-images",
}
"""Commands that need full-size weights or other people's files, and what their one-line error names."""


def _matching(rules: dict[str, str], command: Shown) -> str | None:
    return next((value for rule, value in rules.items() if re.search(rule, command.text)), None)


EVERY = [command for page in PAGES for command in commands(page)]


@dataclass(frozen=True, kw_only=True)
class Newcomer:
    """A folder in which all commands were typed, and what went wrong."""

    folder: Path
    wrong: list[str]


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    """In the order of the pages, in one folder: what a command needs, one before it has made."""
    folder = tmp_path_factory.mktemp("newcomer")
    furnish(folder)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of modules that are run and were imported before
        patch.chdir(folder)
        patch.setattr(sys, "argv", sys.argv)
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        patch.setenv("HF_HUB_OFFLINE", "1")  # of processes that are started
        found = [_complaint(command) for command in {command.text: command for command in EVERY}.values()]
    return Newcomer(folder=folder, wrong=[one for one in found if one])


def _complaint(command: Shown) -> str | None:
    """What is wrong with a command: it neither works nor names what is missing."""
    not_run, missing = _matching(NOT_RUN, command), _matching(NOT_AT_HAND, command)
    started = modules_run(command.text)
    if not started and not not_run:
        return f"{command}\n    starts no module"
    for module, arguments in started:
        if not_run:
            try:
                _parse(module, arguments)
            except (SystemExit, ValueError, UserError) as error:
                return f"{command}\n    cannot be read: {error}"
            continue
        if module == "workflows.miniature.world":
            continue  # of which there is a small one
        status, output = _run(module, arguments)
        errors = [line for line in output.splitlines() if line.startswith("error: ")]
        names_it = missing and errors and re.search(missing, errors[-1])
        if not (status in (1, 2) and names_it if missing else status == 0):
            return f"{command}\n    status {status}: {errors or output[-600:]}"
    return None


def _run(module: str, arguments: list[str]) -> tuple[int, str]:
    """Return the exit status of ``python -m module`` in this process, and the output of it and its processes."""
    chooses_weights = {"--detr-weights", "--pretrained-visual", "--start", "--random-weights"} & set(arguments)
    smaller = [] if chooses_weights else SMALLER.get(module, [])
    sys.argv = [module, *smaller, *arguments]
    with _capture_output() as output:
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as exited:
            if isinstance(exited.code, str):
                print(exited.code)
            status = 1 if isinstance(exited.code, str) else exited.code or 0
        output.seek(0)
        return status, output.read()


@contextmanager
def _capture_output() -> Iterator[IO[str]]:
    """A file that gets what is written to standard output and error, by processes that are started as well."""
    with TemporaryFile("w+") as output, redirect_stdout(output), redirect_stderr(output):
        kept = [os.dup(number) for number in (1, 2)]
        try:
            for number in (1, 2):
                os.dup2(output.fileno(), number)
            yield output
        finally:
            for number, before in zip((1, 2), kept, strict=True):
                os.dup2(before, number)
                os.close(before)


def _parse(module: str, arguments: list[str]) -> None:
    """The command line of a module that takes too long to be run."""
    spec = importlib.util.find_spec(module)
    if spec is None:
        raise AssertionError(f"there is no module {module}")
    if spec.submodule_search_locations is not None:
        module = f"{module}.__main__"
    if module.split(".")[0] not in ("workflows", "benchmarks", "trainer"):
        return
    main = importlib.import_module(module).main
    (config,) = typing.get_type_hints(main).keys() - {"return"}
    tyro.cli(typing.get_type_hints(main)[config], args=arguments)


def test_there_are_commands() -> None:
    assert len(EVERY) > 60 and {command.page for command in EVERY} > {"README.md", "docs/datasets.md", "docs/faq.md"}


@pytest.mark.slow
def test_every_command_does_what_the_page_says_or_names_what_is_missing(newcomer: Newcomer) -> None:
    assert not newcomer.wrong, "\n".join(newcomer.wrong)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_pieces_of_python_run(page: str, newcomer: Newcomer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(newcomer.folder)
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), {"__name__": "shown"})


def test_links_lead_somewhere_where_pages_are_read_as_files() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page} links to {target}"


def test_make_knows_every_target_that_a_page_names() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text()):
            assert target in targets, f"{page} names make {target}"


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_other_servers(tmp_path: Path) -> None:
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
    assert (tmp_path / "site" / "results" / "study.json").is_file()
    for package in ("pipeline", "shards", "generation", "augmentation", "trainer"):
        assert f"{package}." in (tmp_path / "site" / "api" / f"{package}.html").read_text()
