"""Page of the demo: one HTML file with its images inside, which loads nothing else."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image
from upath import UPath

from generation.parsing.attributes import AttributeParser, Attributes
from generation.priors.store import PriorStore
from pipeline import write_atomic
from shards.images import decode_rgb_image, encode_png
from shards.reader import SampleReader
from shards.schema import Sample
from shards.tiles import PREDICTED, TRUTH, Box, Color, make_tile
from trainer.evaluate import read_predictions
from trainer.evaluation.metrics import THRESHOLDS, PredictionRecord
from workflows.cli.paths import get_dataset_paths
from workflows.demo.result import TEST, Group, list_cells
from workflows.gallery.entries import format_program
from workflows.priors.config import find_prior_store_path
from workflows.reports.plot_style import COLORS
from workflows.visualization.annotated_images import draw_named_boxes

Item = TypeVar("Item")

NUM_SCENES, QUERIES_PER_SCENE, NUM_ANSWERS = 6, 3, 12

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Demo: visual grounding with distractors</title>
<link rel="icon" href="data:,">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 0 auto; padding: 1rem; color: #222; }}
h2 {{ margin-top: 2.5rem; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: 0.2rem 0.8rem; text-align: right; border-bottom: 1px solid #ddd; }}
th:first-child, td:first-child {{ text-align: left; }}
.cards {{ display: flex; flex-wrap: wrap; gap: 1.2rem; }}
.card {{ width: 20rem; }}
.card img {{ max-width: 100%; image-rendering: pixelated; }}
.steps .card {{ width: 14.5rem; }}
.steps td, .steps th {{ white-space: normal; text-align: left; padding: 0.1rem 0.4rem; }}
.pair {{ display: flex; gap: 0.5rem; }}
.pair figure {{ flex: 1; }}
figure {{ margin: 0; }}
figcaption, .note {{ font-size: 0.85rem; color: #555; }}
td:last-child {{ white-space: nowrap; }}
code {{ font-size: 0.8rem; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>Visual grounding with distractors, in the miniature world</h1>
<ul>{closing}</ul>
<p>Both networks train as many steps on the same {num_train:,} queries. One of them also gets generated data: a prior
for each query, and {num_scenes:,} scenes with {num_scene_queries:,} queries. To compare its priors with images, it
learns from crops of all annotated objects, also of those that no query is about.</p>
<h2>Results</h2>
<p>Acc@0.5 in percent: the answers whose box has an IoU above 0.5 with the target's. The difference is paired by query,
with its 95 % interval over images; a star marks an interval that excludes zero. The interval covers other images, not
another training.</p>
{results}
<h2>A query on its way</h2>
{query}
<h2>Scenes</h2>
<p>Stable Diffusion renders a category and a count, and a detector finds the objects. Each query is the wording of a
program that selects exactly one of them.</p>
<div class="cards">{scenes}</div>
<h2>The same test images, answered by both networks</h2>
<p>Every {step:,}th query with several distractors, not selected by hand. Green is the target, red the answer.</p>
<div class="cards">{answers}</div>
<h2>Times</h2>
{times}
</body>
</html>
"""


def write_page(output: Path, groups: Sequence[Group], closing: Iterable[str], seconds: Mapping[str, float]) -> None:
    """Write ``<output>/index.html``.

    Args:
        output: folder of the demo.
        groups: rows of the table of results.
        closing: lines that say what the results mean.
        seconds: seconds by step.
    """
    data = UPath(output / "data")
    paths = get_dataset_paths("miniature", data)
    samples, scenes = SampleReader(paths.get_packed_run("samples")), SampleReader(paths.get_packed_run("scenes"))
    base, both = (read_predictions(output / name / "evaluation") for name in ("base", "both"))
    chosen, step = _select_spread([one for one in both if (one.num_distractors or 0) >= 2] or both, NUM_ANSWERS)
    times = [*((name, f"{value:.0f} s") for name, value in seconds.items()), ("all", f"{sum(seconds.values()):.0f} s")]
    page = PAGE.format(
        closing="".join(f"<li>{html.escape(line)}</li>" for line in closing),
        num_train=sum(entry.num_queries for entry in samples.index if entry.split == "train"),
        num_scenes=len(scenes),
        num_scene_queries=scenes.num_queries,
        results=_format_table(*list_cells(groups)),
        query=_format_query(samples, PriorStore.open(find_prior_store_path("miniature", data))),
        scenes="".join(_format_scene(scenes.read(i)) for i in _select_spread(range(len(scenes)), NUM_SCENES)[0]),
        step=step,
        answers="".join(_format_answers(samples, chosen, base)),
        times=_format_table(("step", "time"), times),
    )
    write_atomic(output / "index.html", page)


def _select_spread(items: Sequence[Item], count: int) -> tuple[Sequence[Item], int]:
    """Return ``count`` items at equal distances, or all, and the distance."""
    step = max(1, len(items) // count)
    return items[::step][:count], step


def _format_query(samples: SampleReader, priors: PriorStore) -> str:
    """Show a test query with an appearance and a position: its attributes, prompt and prior."""
    numbers = [number for number, entry in enumerate(samples.index) if entry.split in TEST]
    pairs = [(number, query) for number in numbers for query in samples.read(number).queries if query.prior_id]
    parsed = AttributeParser().parse([query.text for _, query in pairs])
    (number, query), attributes = max(zip(pairs, parsed, strict=True), key=lambda pair: _count_attributes(pair[1]))
    assert query.prior_id
    rows = [
        (name, ", ".join(_list_words(value)))
        for name, value in attributes.to_json().items()
        if name not in ("query", "kind")
    ]
    prompt, score = priors.prompt(query.prior_id), priors.clip_score(query.prior_id)
    note = "" if score is None else f", whose CLIP score with the prompt is {score:.0f}"
    cards = [
        _format_image(_draw(samples.read(number), [(query.box_xyxy, TRUTH)]), f"1. The query: “{query.text}”"),
        f"<div><p>2. Its attributes</p>{_format_table(('attribute', 'words'), rows)}</div>",
        f"<p>3. The prompt, without positions:<br>“{html.escape(prompt)}”</p>",
        _format_image(
            make_tile(Image.fromarray(priors.image(query.prior_id)), "", num_lines=0),
            f"4. The prior: the prompt's image{note}. Its CLIP feature shows the network what to look for.",
        ),
    ]
    return '<div class="cards steps">' + "".join(f'<div class="card">{card}</div>' for card in cards) + "</div>"


def _count_attributes(attributes: Attributes) -> tuple[bool, int]:
    """Return whether both an appearance and a position are named, and the number of attributes."""
    has_position = bool(attributes.absolute_location or attributes.ordinals or attributes.relative_location)
    return bool(attributes.colors) and has_position, len(attributes.to_json())


def _list_words(value: Any) -> list[str]:
    """List the words of a value of ``Attributes.to_json``, once each."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return list(dict.fromkeys(word for one in value for word in _list_words(one)))
    return [str(value)]


def _format_scene(scene: Sample) -> str:
    """Show a scene with some of its queries, their targets and programs."""
    queries = _select_spread(scene.queries, QUERIES_PER_SCENE)[0]
    image = draw_named_boxes(decode_rgb_image(scene.image), [(query.box_xyxy, "") for query in queries])
    items = "".join(
        f'<li><span style="color: {color}">■</span> {html.escape(query.text)}<br>'
        f"<code>{html.escape(format_program(query.program))}</code></li>"
        for query, color in zip(queries, COLORS, strict=False)
    )
    return f'<div class="card">{_format_image(image, "")}<ul>{items}</ul></div>'


def _format_answers(
    samples: SampleReader, chosen: Iterable[PredictionRecord], base: Sequence[PredictionRecord]
) -> Iterator[str]:
    """Yield a card with the answers of both networks for each query."""
    numbers = {entry.key: number for number, entry in enumerate(samples.index)}
    theirs = {(one.split, one.query_id): one for one in base}
    for one in chosen:
        sample = samples.read(numbers[one.key])
        answers = {"without generated data": theirs[one.split, one.query_id], "with": one}
        figures = "".join(
            _format_image(
                _draw(sample, [(answer.target_xyxy, TRUTH), (answer.box_xyxy, PREDICTED)]),
                f"{name}: {'right' if answer.iou > THRESHOLDS[0] else 'wrong'} (IoU {answer.iou:.2f})",
            )
            for name, answer in answers.items()
        )
        yield f'<div class="card"><p>“{html.escape(one.text)}”</p><div class="pair">{figures}</div></div>'


def _draw(sample: Sample, boxes: Iterable[tuple[Box, Color]]) -> Image.Image:
    return make_tile(decode_rgb_image(sample.image), "", boxes, num_lines=0)


def _format_image(image: Image.Image, caption: str) -> str:
    """Return a figure that holds the image as a PNG file."""
    source = f"data:image/png;base64,{base64.b64encode(encode_png(image)).decode()}"
    return f'<figure><img src="{source}" alt=""><figcaption>{html.escape(caption)}</figcaption></figure>'


def _format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    titles = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>"
