"""Tests of core modules: the share of small changes of the code that the tests of the changed module notice.

cosmic-ray makes the changes, such as ``<`` to ``<=``, ``+`` to ``-`` or 2 to 3. Install it by ``.venv/bin/pip install
cosmic-ray``. Every change runs in a clone of the last commit, in a process that is forked after the libraries' imports.

    make benchmark NAME=mutations ARGS="--modules shards/boxes.py"
"""

from __future__ import annotations

import argparse
import ast
import compileall
import json
import os
import py_compile
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import cache_from_source
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from hypothesis import Phase, settings

CHECKOUT = Path(__file__).resolve().parents[1]
RESULTS = CHECKOUT / "benchmarks" / "results" / "mutations.json"

RELATIONS = "tests/augmentation/relations"
QUICK = "not random_scenes and not with_noise and not of_ties and not mirrored_scene"
"""Tests without those of hundreds of random scenes of relations: half a minute for each change that they let live."""

TESTS: Mapping[str, str] = {
    "augmentation/relations/evaluator.py": RELATIONS,
    "augmentation/relations/geometry.py": RELATIONS,
    "augmentation/relations/interval.py": RELATIONS,
    "augmentation/relations/programs.py": RELATIONS,
    "augmentation/relations/scene.py": RELATIONS,
    "augmentation/relations/types.py": RELATIONS,
    "shards/boxes.py": "tests/shards/test_boxes.py",
    "trainer/boxes.py": "tests/trainer/test_boxes.py",
    "trainer/training/losses.py": "tests/trainer/training/test_losses.py",
    "trainer/training/appearance_losses.py": "tests/trainer/training/test_appearance_losses.py",
    "trainer/evaluation/metrics.py": "tests/trainer/evaluation/test_metrics.py",
    "trainer/data/transforms.py": "tests/trainer/data/test_transforms.py",
    "pipeline/receipts.py": "tests/pipeline/test_receipts.py",
    "pipeline/commit.py": "tests/pipeline/test_commit.py",
}
"""Tests of each module."""

EQUIVALENT = (
    ("", r"(frozen|kw_only)=False", "mypy refuses what it would permit"),
    ("shards/boxes", r"strict=False", "every box has four numbers"),
    ("shards/boxes", r"(width|height) < 0", "a side of 0 gives an overlap of 0"),
    ("appearance", r"dim=\+?1\)", "the last of two dimensions"),
    ("appearance", r"visible \+|near \*|\* visible|\* own_image", "+ and * of bools are | and &"),
    ("appearance", r"10001|!= 0", "as little a weight, and no count is negative"),
    ("metrics", r"range\(50, 92, 5\)", "steps of 5 end at 90"),
    ("metrics", r"\+ 1\) // 2", "a product of two successive numbers is even"),
    ("transforms", r"view\(-1, 1, 2\)", "corners are compared one by one"),
    ("geometry", r"axis [|^] 2", "an axis is 0 or 1"),
    ("evaluator", r"\| 2 == 0", "the median of an even number is none anyway"),
    ("evaluator", r"j is not i", "small integers are one object"),
    ("types", r'"rank"\] <= 1', "ranks count from 1"),
    ("types", r'"op"\] <= "beside"', "no operator's name comes before it"),
    ("receipts", r"indent=", "the same values"),
    ("commit", r"hex\[: 1[13]\]", "a name as unique"),
    ("commit", r"perf_counter\(\) % started", "less than twice the time since the start"),
)
"""Part of a module's path, pattern of a change, and why it makes no difference."""

MAX_SLOWDOWN, GRACE_S = 3.0, 5.0
"""Maximum time of the tests, as a multiple of their time without a change, and seconds beyond; then it is noticed."""


class _AnnotationRemover(ast.NodeTransformer):
    """Removes annotations, which are never evaluated."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(0)
        return self.generic_visit(node)


def list_changes(source: str) -> Iterator[str]:
    """Yield each changed source that parses and differs outside of annotations."""
    seen = {_parse_without_annotations(source)}
    for name in operator_names():
        if name.startswith("core/Variable"):  # they need arguments
            continue
        operator = get_operator(name)()
        count = sum(1 for node in ast_nodes(get_ast(source)) for _ in operator.mutation_positions(node))
        for occurrence in range(count):
            changed = mutate_code(source, operator, occurrence)
            try:
                parsed = _parse_without_annotations(changed)
            except SyntaxError:
                continue
            if parsed not in seen:
                seen.add(parsed)
                yield changed


def _parse_without_annotations(source: str) -> str:
    return ast.dump(_AnnotationRemover().visit(ast.parse(source)))


def describe_change(source: str, changed: str) -> str:
    """Return the first changed line, its number, and what it became."""
    pairs = enumerate(zip(source.splitlines(), changed.splitlines(), strict=False), 1)
    line, before, after = next((line, *pair) for line, pair in pairs if pair[0] != pair[1])
    return f"{line}: {before.strip()}  ->  {after.strip()}"


def run_tests(tests: str, time_limit_s: float, libraries: Path | None = None) -> bool:
    """Run tests in a forked process, and return whether they pass in time.

    Args:
        tests: file or folder of tests.
        time_limit_s: maximum time.
        libraries: file for the names of the libraries' modules that the tests imported.
    """
    child = os.fork()
    if not child:
        os.setsid()
        silence = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(silence, descriptor)
        settings.register_profile("mutations", phases=[Phase.generate])  # one failure is enough, of any size
        selection = [tests, "-x", "-m", "not slow", "-k", QUICK]
        code = pytest.main([*selection, "-p", "no:cacheprovider", "--hypothesis-profile=mutations"])
        if libraries:
            files = {name: str(getattr(module, "__file__", "")) for name, module in [*sys.modules.items()]}
            libraries.write_text("\n".join(name for name, file in files.items() if "site-packages" in file))
        os._exit(int(code))
    deadline = time.monotonic() + time_limit_s
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def measure_module(module: str, limit: int, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """Measure one module in the current folder, which is a clone of the checkout.

    Args:
        module: path of the module.
        limit: maximum number of changes.
        before: earlier record of the same module, of which only the changes that survived are tried again.
    """
    path, libraries = Path(module), Path("libraries.txt").resolve()
    source = path.read_text()
    started = time.monotonic()
    if not run_tests(TESTS[module], 600, libraries):
        raise SystemExit(f"{TESTS[module]} must pass before the code is changed")
    time_limit_s = MAX_SLOWDOWN * (time.monotonic() - started) + GRACE_S
    for name in libraries.read_text().splitlines():
        with suppress(Exception):  # a part that only its own library can import
            import_module(name)
    Path(cache_from_source(module)).unlink(missing_ok=True)
    changes = list(list_changes(source))
    drawn = Random(0).sample(changes, min(limit, len(changes)))
    tried = {describe_change(source, changed): changed for changed in drawn}
    if before:
        tried = {change: tried[change] for change in (*before["survived"], *before["equivalent"])}
    survived = []
    for change, changed in tried.items():
        path.write_text(changed)
        if run_tests(TESTS[module], time_limit_s):
            survived.append(change)
            print(f"{module}: {change}", flush=True)
    path.write_text(source)
    equivalent = {change: reason for change in survived if (reason := find_reason(module, change))}
    num_different = len(drawn) - len(equivalent)
    return {
        "changes": len(changes),
        "drawn": len(drawn),
        "equivalent": equivalent,
        "survived": [change for change in survived if change not in equivalent],
        "score": round(1 - (len(survived) - len(equivalent)) / num_different, 4),
    }


def find_reason(module: str, change: str) -> str | None:
    """Return why a change makes no difference; None if it may make one."""
    reasons = (reason for place, pattern, reason in EQUIVALENT if place in module and re.search(pattern, change))
    return next(reasons, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modules", nargs="+", choices=list(TESTS), default=list(TESTS), metavar="MODULE")
    parser.add_argument("--limit", type=int, default=150, help="maximum number of changes of a module, drawn by seed 0")
    parser.add_argument("--survivors", action="store_true", help="try only those again that survived")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.output = options.output.resolve()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        subprocess.run(["git", "clone", "--quiet", "--shared", str(CHECKOUT), str(copy)], check=True)
        os.chdir(copy)
        unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(".", quiet=2, invalidation_mode=unchecked)
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        for module in options.modules:
            record = json.loads(options.output.read_text()) if options.output.exists() else {}
            before = record.get(module) if options.survivors else None
            record[module] = measure_module(module, options.limit, before)
            options.output.write_text(json.dumps(record, indent=1) + "\n")
            result = record[module]
            tried = f"{result['drawn']} of {result['changes']} tried, {len(result['equivalent'])} equivalent"
            print(f"{module}: {tried}, {len(result['survived'])} survived, score {result['score']:.1%}", flush=True)


if __name__ == "__main__":
    main()
