"""Queries to semantic priors: parse, prompt, draw each unique prompt once, encode, store.

    make generate-priors                                        # the miniature data set with the miniature models
    make generate-priors ARGS="--dataset refcoco --preset sd15 --num-gpus 1"

Data sets with the same image encoder share a store, and a prompt that is there is not drawn again. Images are not
needed. How the priors are made is kept in ``prior.json`` beside the data set; later steps go by it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from upath import UPath

from generation.priors.config import PriorConfig, build_image_settings, compute_encoder_fingerprint
from generation.priors.rendering import RenderStage
from generation.priors.store import PriorSink, PriorStore
from pipeline import ExecutorConfig, Job, PlanRow, list_runs, open_plan, read_receipts
from workflows.cli.console import Executor, console, print_path, run
from workflows.cli.paths import DATA, get_dataset_paths, get_prior_store_path
from workflows.presets import miniature
from workflows.presets.full_size import PRESETS
from workflows.priors.config import save_prior_config
from workflows.priors.pruning import find_stale_priors, print_stale, prune
from workflows.priors.query_parsing import ParsedRow, Queries, QuerySource, parse_queries
from workflows.reports.run_report import run_and_plot_job


@dataclass(frozen=True, kw_only=True)
class GeneratePriorsConfig:
    """Whose queries, and how their priors are made."""

    dataset: str = "miniature"
    source: QuerySource = "samples"
    """``samples``: the queries that ``ingest`` read; ``scenes``: those of the generated scenes."""

    preset: Literal["miniature", "sd15", "sdxl", "lcm", "sd-turbo", "sdxl-turbo"] = "miniature"
    """What the options of ``prior`` start from; ``sd15`` for other data sets than the miniature."""

    prior: PriorConfig = field(default_factory=miniature.prior_config)
    """Wording, text-to-image model and image encoder; any local folder or hub id."""

    data: UPath = DATA
    report_stale: bool = False
    """Say which priors of the store no query of any data set asks for any more, and change nothing."""

    prune: bool = False
    """Remove those, after the missing ones are drawn."""

    limit: int | None = None
    """Draw at most so many prompts, to have a look before the long run."""

    priors_per_shard: int = 128
    num_gpus: float = 0.0
    """GPUs of each worker that draws."""

    executor: Executor = field(default_factory=ExecutorConfig)

    def __post_init__(self) -> None:
        if self.priors_per_shard < 1 or (self.limit is not None and self.limit < 1):
            raise ValueError("priors_per_shard and limit must be at least 1")


def make_default_config(arguments: list[str]) -> GeneratePriorsConfig:
    """The defaults, with ``prior`` of the preset that a command line names, or of the data set that it names."""
    # Without abbreviations: --data is another option.
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--dataset", default="miniature")
    parser.add_argument("--preset", choices=sorted(PRESETS))
    try:
        options = parser.parse_known_args(arguments)[0]
        name: Any = options.preset or ("miniature" if options.dataset == "miniature" else "sd15")
    except argparse.ArgumentError:
        name = "miniature"  # the parser of all options says what is wrong
    return GeneratePriorsConfig(preset=name, prior=PRESETS[name]())


def main(config: GeneratePriorsConfig) -> None:
    """Parse all queries, then draw and encode the prompts that the store lacks."""
    settings = build_image_settings(config.prior)
    rows = parse_queries(
        Queries(dataset=config.dataset, source=config.source, data=config.data), config.prior, config.executor
    )
    unique = {row.prior_id: row for row in reversed(rows)}
    console.print(f"{len(rows):,} queries ask for {len(unique):,} different images")
    if shortened := sum(row.shortened for row in rows):
        console.print(
            f"{shortened:,} queries are longer than CLIP reads: head and attributes went into the prompt first"
        )
    render_missing(config, settings, sorted(unique.values(), key=lambda row: row.prior_id))
    if config.source == "samples":
        save_prior_config(get_dataset_paths(config.dataset, config.data).prior_config, config.prior)
    if config.report_stale or config.prune:
        encoder = compute_encoder_fingerprint(config.prior)
        stale = find_stale_priors(encoder, config.data, config.executor)
        print_stale(stale, config.data)
        if config.prune and stale:
            prune(stale, get_prior_store_path(encoder, config.data), config.executor, config.priors_per_shard)


def render_missing(config: GeneratePriorsConfig, settings: dict[str, Any], wanted: Iterable[ParsedRow]) -> None:
    """Draw and encode what the store lacks, as one more run of the store; what was interrupted is finished first."""
    encoder = compute_encoder_fingerprint(config.prior)
    root = get_prior_store_path(encoder, config.data)
    request = {"source": [config.dataset, config.source, config.limit], "settings": settings, "encoder": encoder}
    for run_folder, fingerprint in find_interrupted(root, request):
        run_and_plot_job(make_prior_job(config, settings, fingerprint, []), run_folder, config.executor)
    stored = PriorStore(*list_runs(root))
    missing = [row for row in wanted if row.prior_id not in stored][: config.limit]
    if not missing:
        print_path("nothing is missing: the prior store", root)
        return
    identity = hashlib.sha256("".join(row.prior_id for row in missing).encode()).hexdigest()
    run_and_plot_job(
        make_prior_job(config, settings, {"priors": identity, **request}, missing),
        root / identity[:16],
        config.executor,
    )
    store = PriorStore.open(root)
    score = store.compute_mean_clip_score()
    console.print(f"{len(store):,} priors" + ("" if score is None else f", CLIP score {score:.1f} on average"))
    print_path("the prior store", root)


def find_interrupted(root: UPath, request: dict[str, Any]) -> list[tuple[UPath, dict[str, Any]]]:
    """Unfinished runs of the store that the same request began, with the fingerprints of their plans."""
    unfinished = []
    for run_folder in list_runs(root):
        plan = open_plan(run_folder)
        planned = dict(plan.settings.fingerprint)
        same = {**planned, "priors": ""} == json.loads(json.dumps({**request, "priors": ""}))
        if same and len(read_receipts(run_folder, allow_partial=True)) < len(plan.shards):
            unfinished.append((run_folder, planned))
    return unfinished


def make_prior_job(
    config: GeneratePriorsConfig, settings: dict[str, Any], fingerprint: dict[str, Any], rows: list[ParsedRow]
) -> Job:
    """The job that draws and encodes the prompts of some rows."""
    return Job(
        name="priors",
        fingerprint=fingerprint,
        inputs=lambda: (_make_prior_row(row) for row in rows),
        items_per_shard=config.priors_per_shard,
        seed=config.prior.seed,
        stages=[RenderStage(config.prior, num_gpus=config.num_gpus)],
        sink=PriorSink(settings, compute_encoder_fingerprint(config.prior)),
    )


def _make_prior_row(row: ParsedRow) -> PlanRow:
    return PlanRow(key=row.prior_id, payload={"prompt": row.prompt, "attributes": json.loads(row.attributes)})


if __name__ == "__main__":
    run(main, GeneratePriorsConfig, __doc__, make_default_config)
