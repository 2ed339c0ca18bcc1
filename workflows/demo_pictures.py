"""Contact sheets of the demo: priors under their queries, scenes with their boxes, predictions of both networks."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw
from upath import UPath

from generation.store import PriorStore
from shards.reader import SampleReader
from shards.schema import Sample
from workflows.layout import folders, prior_store

TILE_PX = 200
CAPTION_PX = 34
TRUTH, PREDICTED = (0, 150, 60), (255, 0, 90)
Boxes = Sequence[tuple[tuple[float, float, float, float], tuple[int, int, int]]]


def draw_pictures(data: UPath, networks: Mapping[str, Path], output: Path, count: int = 24) -> None:
    """Write ``priors.png``, ``scenes.png`` and ``predictions-<network>.png``."""
    output.mkdir(parents=True, exist_ok=True)
    place = folders("miniature", data)
    sheet(prior_tiles(place.packed("samples"), prior_store(data), count)).save(output / "priors.png")
    sheet(scene_tiles(place.packed("scenes"), count)).save(output / "scenes.png")
    for name, folder in networks.items():
        lines = (folder / "evaluation" / "predictions.jsonl").read_text().splitlines()
        tiles = prediction_tiles(place.packed("samples"), lines[:: max(1, len(lines) // count)][:count])
        sheet(tiles).save(output / f"predictions-{name}.png")


def prior_tiles(samples: UPath, store: UPath, count: int) -> list[Image.Image]:
    """One query of each of ``count`` test pictures, with the prior drawn for it."""
    reader, priors = SampleReader(samples, "testA"), PriorStore.open(store)
    step = max(1, len(reader) // count)
    queries = [reader.read(i).queries[0] for i in range(0, len(reader), step)][:count]
    return [
        tile(Image.fromarray(priors.image(q.prior_id)), f"{q.text}\n> {priors.prompt(q.prior_id)}")
        for q in queries
        if q.prior_id
    ]


def scene_tiles(scenes: UPath, count: int) -> list[Image.Image]:
    """Generated scenes, each with one query and its box."""
    reader = SampleReader(scenes)
    tiles = []
    for i in range(min(count, len(reader))):
        sample = reader.read(i)
        query = sample.queries[i % len(sample.queries)]
        tiles.append(tile(picture_of(sample), query.text, [(query.box_xyxy, TRUTH)]))
    return tiles


def prediction_tiles(samples: UPath, lines: Sequence[str]) -> list[Image.Image]:
    """Test pictures with truth (green) and prediction (red)."""
    reader = SampleReader(samples)
    number = {entry.key: i for i, entry in enumerate(reader.index)}
    tiles = []
    for record in map(json.loads, lines):
        boxes = [(record["target_xyxy"], TRUTH), (record["box_xyxy"], PREDICTED)]
        picture = picture_of(reader.read(number[record["key"]]))
        tiles.append(tile(picture, f"{record['text']}\nIoU {record['iou']:.2f}", boxes))
    return tiles


def picture_of(sample: Sample) -> Image.Image:
    with Image.open(io.BytesIO(sample.image)) as image:
        return image.convert("RGB")


def tile(picture: Image.Image, caption: str, boxes: Boxes = ()) -> Image.Image:
    """A picture enlarged to a square of ``TILE_PX``, its boxes, and two lines of text above."""
    zoom = TILE_PX / max(picture.size)
    shown = picture.resize((round(picture.width * zoom), round(picture.height * zoom)), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(shown)
    for box, colour in boxes:
        draw.rectangle(tuple(value * zoom for value in box), outline=colour, width=3)
    whole = Image.new("RGB", (TILE_PX, TILE_PX + CAPTION_PX), "white")
    ImageDraw.Draw(whole).text((3, 2), caption, fill="black", font_size=12)
    whole.paste(shown, (0, CAPTION_PX))
    return whole


def sheet(tiles: Sequence[Image.Image], columns: int = 6) -> Image.Image:
    """Tiles in rows."""
    width, height = TILE_PX + 6, TILE_PX + CAPTION_PX + 6
    whole = Image.new("RGB", (columns * width, max(1, -(-len(tiles) // columns)) * height), "white")
    for i, one in enumerate(tiles):
        whole.paste(one, ((i % columns) * width, (i // columns) * height))
    return whole
