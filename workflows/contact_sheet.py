"""Save a contact sheet of priors: query, prompt, image and CLIP score, for any part of a dataset.

python -m workflows.contact_sheet --dataset miniature --output sheet.png
python -m workflows.contact_sheet --dataset refcoco --matching "umbrella" --order worst --num-priors 60
python -m workflows.contact_sheet --dataset refcoco --source scenes --kinds person animal
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

from PIL import Image
from upath import UPath

from generation.priors.store import PriorStore
from pipeline import ExecutorConfig
from shards.tiles import make_sheet, make_tile
from workflows.cli.console import Executor, UserError, console, run
from workflows.cli.paths import DATA, get_dataset_paths
from workflows.priors.config import find_prior_store_path, load_prior_config
from workflows.priors.query_parsing import ParsedRow, Queries, QuerySource, parse_queries

CAPTION_LINES = 5


@dataclass(frozen=True, kw_only=True)
class ContactSheetConfig:
    """Priors of the sheet and its layout."""

    dataset: str = "miniature"
    source: QuerySource = "samples"
    """Queries of ``samples``, which ``ingest`` read, or of the generated ``scenes``."""

    data: UPath = DATA
    matching: str = ""
    """Regular expression that the queries match somewhere."""

    kinds: tuple[str, ...] = ()
    """Kinds of targets: person, animal, garment, part, stuff, object, unknown; all by default."""

    order: Literal["random", "worst", "best"] = "random"
    """Order of the priors; ``worst`` and ``best`` are by CLIP score."""

    num_priors: int = 48
    """Number of priors, at least 1; a prior is shown with the first of its queries."""

    columns: int = 8
    image_px: int = 160
    """Side of an image on the sheet, at least 32."""

    seed: int = 0
    output: Path = Path("contact-sheet.png")
    executor: Executor = field(default_factory=ExecutorConfig)

    def __post_init__(self) -> None:
        if min(self.num_priors, self.columns) < 1 or self.image_px < 32:
            raise UserError("--num-priors and --columns must be at least 1, --image-px at least 32")
        try:
            re.compile(self.matching)
        except re.error as error:
            raise UserError(f"--matching {self.matching!r} is not a regular expression: {error}") from error


def main(config: ContactSheetConfig) -> None:
    """Select the priors, save the sheet and report how many priors are missing."""
    store = PriorStore.open(find_prior_store_path(config.dataset, config.data))
    rows = select_rows(config)
    available = [row for row in rows if row.prior_id in store]
    if len(available) < len(rows):
        console.print(
            f"{len(rows) - len(available):,} of {len(rows):,} priors are not rendered yet; run `make generate-priors`"
        )
    if not available:
        raise UserError("no prior to show; change --matching or --kinds, or run `make generate-priors` first")
    draw_sheet(config, store, pick_rows(config, store, available)).save(config.output)
    console.print(
        f"{min(config.num_priors, len(available)):,} of {len(available):,} priors saved to {config.output}",
        soft_wrap=True,
    )


def select_rows(config: ContactSheetConfig) -> list[ParsedRow]:
    """Return the first query of each prompt."""
    prior = load_prior_config(get_dataset_paths(config.dataset, config.data).prior_config)
    parsed = parse_queries(
        Queries(dataset=config.dataset, source=config.source, data=config.data), prior, config.executor
    )
    matched = [
        row
        for row in parsed
        if re.search(config.matching, row.text, re.IGNORECASE) and (not config.kinds or row.kind in config.kinds)
    ]
    return list({row.prior_id: row for row in reversed(matched)}.values())[::-1]


def pick_rows(config: ContactSheetConfig, store: PriorStore, rows: list[ParsedRow]) -> list[ParsedRow]:
    """Return ``num_priors`` rows in the configured order."""
    if config.order == "random":
        return Random(config.seed).sample(rows, min(config.num_priors, len(rows)))
    by_score = sorted(rows, key=lambda row: store.clip_score(row.prior_id) or 0.0, reverse=config.order == "best")
    return by_score[: config.num_priors]


def draw_sheet(config: ContactSheetConfig, store: PriorStore, rows: list[ParsedRow]) -> Image.Image:
    """Draw the priors in rows, each below its CLIP score, query and prompt."""
    tiles = []
    for row in rows:
        score = store.clip_score(row.prior_id)
        caption = f"“{row.text}”\n{row.prompt}" + ("" if score is None else f"\nCLIP {score:.1f}")
        image = Image.fromarray(store.image(row.prior_id))
        tiles.append(make_tile(image, caption, side_px=config.image_px, num_lines=CAPTION_LINES))
    return make_sheet(tiles, config.columns)


if __name__ == "__main__":
    run(main, ContactSheetConfig, __doc__)
