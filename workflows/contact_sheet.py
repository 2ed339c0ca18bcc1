"""A contact sheet of priors: query, prompt, picture and CLIP score, for any slice of a data set.

python -m workflows.contact_sheet --dataset miniature --output sheet.png
python -m workflows.contact_sheet --dataset refcoco --matching "umbrella" --order worst --count 60
python -m workflows.contact_sheet --dataset refcoco --of scenes --kinds person animal
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

from PIL import Image, ImageDraw, ImageFont
from upath import UPath

from generation.priors.store import PriorStore
from pipeline.executor import ExecutorConfig
from workflows.cli.console import Executor, UserError, console, run
from workflows.cli.paths import DATA, folders
from workflows.priors.config import load_prior_config, prior_store_of
from workflows.priors.query_parsing import ParsedRow, Queries, Source, parse

TEXT_LINES = 5
MARGIN_PX = 8
LINE_PX = 15


@dataclass(frozen=True, kw_only=True)
class ContactSheetConfig:
    """Which priors are shown, and where the sheet goes."""

    dataset: str = "miniature"
    of: Source = "samples"
    """``samples``: the queries that ``ingest`` read; ``scenes``: those of the generated scenes."""

    data: UPath = DATA
    matching: str = ""
    """Only queries in which this regular expression is found."""

    kinds: tuple[str, ...] = ()
    """Only targets of these kinds: person, animal, garment, part, stuff, thing, unknown."""

    order: Literal["random", "worst", "best"] = "random"
    """``worst`` and ``best`` are by CLIP score."""

    count: int = 48
    """Prompts shown; of the queries that share one, the first is written."""

    columns: int = 8
    picture_px: int = 160
    """Side of a picture on the sheet."""

    seed: int = 0
    output: Path = Path("contact-sheet.png")
    executor: Executor = field(default_factory=ExecutorConfig)

    def __post_init__(self) -> None:
        if min(self.count, self.columns) < 1 or self.picture_px < 32:
            raise UserError("--count and --columns must be at least 1, --picture-px at least 32")
        try:
            re.compile(self.matching)
        except re.error as error:
            raise UserError(f"--matching {self.matching!r} is no regular expression: {error}") from error


def main(config: ContactSheetConfig) -> None:
    """Choose the priors, draw the sheet, say what is not there yet."""
    store = PriorStore.open(prior_store_of(config.dataset, config.data))
    rows = wanted_rows(config)
    there = [row for row in rows if row.prior_id in store]
    if len(there) < len(rows):
        console.print(f"{len(rows) - len(there):,} of {len(rows):,} prompts are not drawn yet; `make generate-priors`")
    if not there:
        raise UserError("no prior to show; take another slice, or run `make generate-priors` first")
    sheet(config, store, chosen(config, store, there)).save(config.output)
    console.print(f"{min(config.count, len(there)):,} of {len(there):,} priors: {config.output}", soft_wrap=True)


def wanted_rows(config: ContactSheetConfig) -> list[ParsedRow]:
    """One row for each prompt of the slice, the first query that asks for it."""
    prior = load_prior_config(folders(config.dataset, config.data).prior_config)
    parsed = parse(Queries(dataset=config.dataset, of=config.of, data=config.data), prior, config.executor)
    found = [
        row
        for row in parsed
        if re.search(config.matching, row.text, re.IGNORECASE) and (not config.kinds or row.kind in config.kinds)
    ]
    return list({row.prior_id: row for row in reversed(found)}.values())[::-1]


def chosen(config: ContactSheetConfig, store: PriorStore, rows: list[ParsedRow]) -> list[ParsedRow]:
    """``count`` of the rows, in the order asked for."""
    if config.order == "random":
        return Random(config.seed).sample(rows, min(config.count, len(rows)))
    by_score = sorted(rows, key=lambda row: store.clip_score(row.prior_id) or 0.0, reverse=config.order == "best")
    return by_score[: config.count]


def sheet(config: ContactSheetConfig, store: PriorStore, rows: list[ParsedRow]) -> Image.Image:
    """The pictures in rows of ``columns``, what belongs to each below it."""
    width, height = config.picture_px + MARGIN_PX, config.picture_px + TEXT_LINES * LINE_PX + 2 * MARGIN_PX
    columns = min(config.columns, len(rows))
    page = Image.new("RGB", (columns * width + MARGIN_PX, -(-len(rows) // columns) * height + MARGIN_PX), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=12)
    for i, row in enumerate(rows):
        x, y = MARGIN_PX + i % columns * width, MARGIN_PX + i // columns * height
        picture = Image.fromarray(store.image(row.prior_id))
        page.paste(picture.resize((config.picture_px, config.picture_px), Image.Resampling.LANCZOS), (x, y))
        score = store.clip_score(row.prior_id)
        text = [f"“{row.text}”", row.prompt, "" if score is None else f"CLIP {score:.1f}"]
        _write(draw, font, text, (x, y + config.picture_px + 2), config.picture_px)
    return page


def _write(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    texts: list[str],
    place: tuple[int, int],
    width: int,
) -> None:
    """Query (two lines at most), prompt (two) and score, each in its colour."""
    lines = [
        (line, colour)
        for text, colour, most in zip(texts, ("black", "#1f5fa8", "#777777"), (2, 2, 1), strict=True)
        for line in _wrapped(draw, font, text, width, most)
    ]
    for number, (line, colour) in enumerate(lines):
        draw.text((place[0], place[1] + number * LINE_PX), line, fill=colour, font=font)


def _wrapped(
    draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str, width: int, most: int
) -> list[str]:
    """At most ``most`` lines that fit; what is cut ends with an ellipsis."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font=font) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > most:
        lines = [*lines[: most - 1], f"{lines[most - 1]} …"]
    while draw.textlength(lines[-1], font=font) > width and len(lines[-1]) > 2:
        lines[-1] = f"{lines[-1].removesuffix('…').rstrip()[:-1]}…"
    return lines


if __name__ == "__main__":
    run(main, ContactSheetConfig, __doc__)
