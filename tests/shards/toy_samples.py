"""Toy samples of a 10 x 8 image with three cups and a ball."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from shards.schema import Instance, Query, Sample
from shards.sources.sample import SourceSample


def make_png(width: int = 10, height: int = 8, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def make_sample(key: str = "toy-1", **changes: Any) -> Sample:
    values: dict[str, Any] = {
        "key": key,
        "width": 10,
        "height": 8,
        "image_name": "a.png",
        "image": make_png(),
        "instances": (
            Instance(box_xyxy=(0, 0, 4, 4), category="cup"),
            Instance(box_xyxy=(5, 0, 9, 4), category="cup"),
            Instance(box_xyxy=(0, 5, 4, 8), category="ball"),
            Instance(box_xyxy=(5, 5, 9, 8), category="cup", is_crowd=True),
        ),
        "queries": (
            Query(
                query_id="q1", text="left cup", boxes_xyxy=((0, 0, 4, 4),), split="train", source="toy", instances=(0,)
            ),
            Query(query_id="q2", text="floor", boxes_xyxy=((0, 5, 10, 8),), split="train", source="toy"),
        ),
    }
    return Sample(**{**values, **changes})


def make_payload(name: str, size: tuple[int, int] = (10, 8)) -> dict[str, Any]:
    sample = make_sample(image_name=name)
    source = SourceSample(
        key=sample.key,
        split="train",
        image_name=name,
        instances=sample.instances,
        queries=sample.queries,
        size=size,
    )
    return source.to_payload()
