"""Queries to semantic priors: parse, prompt, draw each unique prompt once, encode, store.

    make generate-priors                                        # the miniature data set with the miniature models
    make generate-priors ARGS="--dataset refcoco --preset sd15 --num-gpus 1"

Data sets with the same image encoder share a store, and a prompt that is there is not drawn again. Photographs are not
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

from generation.priors.config import PriorConfig, encoder_fingerprint, picture_settings
from generation.priors.rendering import DrawStage
from generation.priors.store import PriorSink, PriorStore
from pipeline.executor import ExecutorConfig
from pipeline.plan import open_plan
from pipeline.receipts import read_receipts, runs_below
from pipeline.run import Job, PlanRow
from workflows.cli.console import Executor, console, lies_in, run
from workflows.cli.paths import DATA, folders, prior_store
from workflows.presets import miniature
from workflows.presets.full_size import PRESETS
from workflows.priors.config import save_prior_config
from workflows.priors.pruning import prune, report, stale_priors
from workflows.priors.query_parsing import ParsedRow, Queries, Source, parse
from workflows.reports.run_report import run_plotted


@dataclass(frozen=True, kw_only=True)
class GeneratePriorsConfig:
    """Whose queries, and how their priors are made."""

    dataset: str = "miniature"
    of: Source = "samples"
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


def from_preset(arguments: list[str]) -> GeneratePriorsConfig:
    """The defaults, with ``prior`` of the preset that a command line names, or of the data set that it names."""
    # Without abbreviations: --data is another option.
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--dataset", default="miniature")
    parser.add_argument("--preset", choices=sorted(PRESETS))
    try:
        named = parser.parse_known_args(arguments)[0]
        name: Any = named.preset or ("miniature" if named.dataset == "miniature" else "sd15")
    except argparse.ArgumentError:
        name = "miniature"  # the parser of all options says what is wrong
    return GeneratePriorsConfig(preset=name, prior=PRESETS[name]())


def main(config: GeneratePriorsConfig) -> None:
    """Parse all queries, then draw and encode the prompts that the store lacks."""
    settings = picture_settings(config.prior)
    rows = parse(Queries(dataset=config.dataset, of=config.of, data=config.data), config.prior, config.executor)
    unique = {row.prior_id: row for row in reversed(rows)}
    console.print(f"{len(rows):,} queries ask for {len(unique):,} different pictures")
    if shortened := sum(row.shortened for row in rows):
        console.print(
            f"{shortened:,} queries are longer than CLIP reads: head and attributes went into the prompt first"
        )
    draw_missing(config, settings, sorted(unique.values(), key=lambda row: row.prior_id))
    if config.of == "samples":
        save_prior_config(folders(config.dataset, config.data).prior_config, config.prior)
    if config.report_stale or config.prune:
        encoder = encoder_fingerprint(config.prior)
        stale = stale_priors(encoder, config.data, config.executor)
        report(stale, config.data)
        if config.prune and stale:
            prune(stale, prior_store(encoder, config.data), config.executor, config.priors_per_shard)


def draw_missing(config: GeneratePriorsConfig, settings: dict[str, Any], wanted: Iterable[ParsedRow]) -> None:
    """Draw and encode what the store lacks, as one more run of the store; what was interrupted is finished first."""
    encoder = encoder_fingerprint(config.prior)
    root = prior_store(encoder, config.data)
    asked = {"of": [config.dataset, config.of, config.limit], "settings": settings, "encoder": encoder}
    for run_folder, fingerprint in interrupted(root, asked):
        run_plotted(prior_job(config, settings, fingerprint, []), run_folder, config.executor)
    stored = PriorStore(*runs_below(root))
    missing = [row for row in wanted if row.prior_id not in stored][: config.limit]
    if not missing:
        lies_in("nothing is missing: the prior store", root)
        return
    identity = hashlib.sha256("".join(row.prior_id for row in missing).encode()).hexdigest()
    run_plotted(
        prior_job(config, settings, {"priors": identity, **asked}, missing), root / identity[:16], config.executor
    )
    store = PriorStore.open(root)
    score = store.mean_clip_score()
    console.print(f"{len(store):,} priors" + ("" if score is None else f", CLIP score {score:.1f} on average"))
    lies_in("the prior store", root)


def interrupted(root: UPath, asked: dict[str, Any]) -> list[tuple[UPath, dict[str, Any]]]:
    """Unfinished runs of the store that the same request began, with the fingerprints of their plans."""
    found = []
    for run_folder in runs_below(root):
        plan = open_plan(run_folder)
        planned = dict(plan.settings.fingerprint)
        same = {**planned, "priors": ""} == json.loads(json.dumps({**asked, "priors": ""}))
        if same and len(read_receipts(run_folder, allow_partial=True)) < len(plan.shards):
            found.append((run_folder, planned))
    return found


def prior_job(
    config: GeneratePriorsConfig, settings: dict[str, Any], fingerprint: dict[str, Any], rows: list[ParsedRow]
) -> Job:
    """The job that draws and encodes the prompts of some rows."""
    return Job(
        name="priors",
        fingerprint=fingerprint,
        inputs=lambda: (_prior_row(row) for row in rows),
        items_per_shard=config.priors_per_shard,
        seed=config.prior.seed,
        stages=[DrawStage(config.prior, num_gpus=config.num_gpus)],
        sink=PriorSink(settings, encoder_fingerprint(config.prior)),
    )


def _prior_row(row: ParsedRow) -> PlanRow:
    return PlanRow(key=row.prior_id, payload={"prompt": row.prompt, "attributes": json.loads(row.attributes)})


if __name__ == "__main__":
    run(main, GeneratePriorsConfig, __doc__, from_preset)
