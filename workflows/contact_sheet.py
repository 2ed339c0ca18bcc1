"""Save a contact sheet of priors: query, prompt, image and CLIP score, for any part of a dataset.

python -m workflows.contact_sheet --dataset miniature --output sheet.png
python -m workflows.contact_sheet --dataset refcoco --matching "umbrella" --order worst --num-priors 60
python -m workflows.contact_sheet --dataset refcoco --source scenes --kinds person animal
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from PIL import Image

from generation.priors.query_parsing import PARSED_COLUMNS, ParsedQuery
from generation.priors.store import PriorStore
from pipeline import ExecutorConfig, PositiveInt, Range, fetch_value, iterate_rows, open_database
from shards.tiles import make_sheet, make_tile
from workflows.cli.console import Executor, UserError, console, run
from workflows.cli.paths import DatasetConfig
from workflows.priors.config import find_prior_store_path, load_prior_config
from workflows.priors.join import create_prior_views
from workflows.priors.query_parsing import Queries, QuerySource, parse_queries

CAPTION_LINES = 5


@dataclass(frozen=True, kw_only=True)
class ContactSheetConfig(DatasetConfig):
    """Priors of the sheet and its layout."""

    source: QuerySource = "samples"
    """Queries of ``samples``, which ``ingest`` read, or of the generated ``scenes``."""

    matching: str = ""
    """Regular expression that the queries match somewhere."""

    kinds: tuple[str, ...] = ()
    """Kinds of targets: person, animal, garment, part, stuff, object, unknown; all by default."""

    order: Literal["random", "worst", "best"] = "random"
    """Order of the priors; ``worst`` and ``best`` are by CLIP score."""

    num_priors: PositiveInt = 48
    """Number of priors, at least 1; a prior is shown with the first of its queries."""

    columns: PositiveInt = 8
    """Number of columns of the sheet."""

    image_px: Annotated[int, Range(32)] = 160
    """Side of an image on the sheet, at least 32."""

    seed: int = 0
    """Seed of the order ``random``."""

    output: Path = Path("contact-sheet.png")
    """PNG file of the sheet."""

    executor: Executor = field(default_factory=ExecutorConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            re.compile(self.matching)
        except re.error as error:
            raise UserError(f"--matching {self.matching!r} is not a regular expression: {error}") from error


def main(config: ContactSheetConfig) -> None:
    """Select the priors, save the sheet and report how many priors are missing."""
    store = PriorStore.open(find_prior_store_path(config.dataset, config.data))
    selection = select_rows(config)
    if missing := selection.num_matched - selection.num_available:
        console.print(
            f"{missing:,} of {selection.num_matched:,} priors are not rendered yet; run `make generate-priors`"
        )
    if not selection.rows:
        raise UserError("no prior to show; change --matching or --kinds, or run `make generate-priors` first")
    draw_sheet(config, store, selection.rows).save(config.output)
    console.print(
        f"{len(selection.rows):,} of {selection.num_available:,} priors saved to {config.output}", soft_wrap=True
    )


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Priors of a sheet."""

    num_matched: int
    """Number of priors whose queries match."""

    num_available: int
    """Number of those that are rendered."""

    rows: list[ParsedQuery]
    """First query of each prior shown, in the configured order."""


def select_rows(config: ContactSheetConfig) -> Selection:
    """Select the priors to show; only these are read.

    Raises:
        UserError: ``matching`` uses syntax that the database does not support.
    """
    prior = load_prior_config(config.paths.prior_config)
    queries = Queries(dataset=config.dataset, source=config.source, data=config.data)
    parsed = parse_queries(queries, prior, config.executor)
    orders = {
        "random": f"md5(m.prior_id || '{config.seed}')",
        "worst": "coalesce(s.clip_score, 0), m.file, m.position",
        "best": "coalesce(s.clip_score, 0) DESC, m.file, m.position",
    }
    fields = ", ".join(f"m.{column}" for column in PARSED_COLUMNS)
    shown = (
        f"SELECT {fields} FROM matched m JOIN scores s USING (prior_id) "
        f"ORDER BY {orders[config.order]} LIMIT {config.num_priors}"
    )
    import duckdb

    with open_database() as database:
        create_prior_views(database, parsed, find_prior_store_path(config.dataset, config.data))
        try:
            database.execute(
                "CREATE TABLE matched AS SELECT p.* FROM parsed p JOIN "
                "(SELECT prior_id, min((file << 32) | position) AS first FROM parsed "
                "WHERE regexp_matches(text, $matching, 'i') AND (len($kinds) = 0 OR kind IN (SELECT unnest($kinds))) "
                "GROUP BY prior_id) ON (p.file << 32) | p.position = first",
                {"matching": config.matching, "kinds": list(config.kinds)},
            )
        except duckdb.InvalidInputException as error:
            raise UserError(f"--matching {config.matching!r} is not supported, use RE2 syntax: {error}") from error
        database.execute(
            "CREATE TABLE scores AS SELECT prior_id, arg_min(clip_score, (file, position)) AS clip_score "
            "FROM store_index SEMI JOIN matched USING (prior_id) GROUP BY prior_id"
        )
        return Selection(
            num_matched=fetch_value(database, "SELECT count(*) FROM matched"),
            num_available=fetch_value(database, "SELECT count(*) FROM scores"),
            rows=[ParsedQuery(**row) for row in iterate_rows(database, shown)],
        )


def draw_sheet(config: ContactSheetConfig, store: PriorStore, rows: list[ParsedQuery]) -> Image.Image:
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
