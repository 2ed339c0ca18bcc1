"""Exports for vision-language models: a question about each query, answered with its boxes.

| format | read by | file | boxes |
|---|---|---|---|
| ``vlm`` | ms-swift, for any of its models | ``<split>.jsonl`` | pixels of the image, in ``objects`` |
| ``qwen3-vl`` | Qwen3-VL in LLaMA-Factory or ms-swift | ``<split>.jsonl`` | thousandths of the image |
| ``qwen2.5-vl`` | Qwen2.5-VL, the same | ``<split>.jsonl`` | pixels of the image as the processor resizes it |
| ``llava`` | LLaVA-1.5 | ``<split>.json`` | fractions of the image padded to a square, two decimals |
| ``florence2`` | Florence-2 | ``<split>.jsonl`` | location tokens, thousandths rounded down |
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shards.boxes import Box
from shards.exports.export import Export, JsonLines, list_splits
from shards.schema import Query, Sample

NO_TARGET_ANSWER = "There is none."
"""Answer to a query without a target; Qwen's formats answer with an empty list instead."""

MIN_PIXELS, MAX_PIXELS = 56 * 56, 16384 * 28 * 28
"""Pixels of an image in Qwen2.5-VL's published processor, at least and at most."""

QWEN_PATCH_PX = 28
"""Pixels of which the sides of an image are multiples in Qwen2.5-VL."""

NUM_LOCATIONS = 1000
"""Location tokens of Florence-2 along a side."""


class ConversationExport(Export):
    """Base of the formats with messages of a user and an assistant.

    Args:
        folder: existing folder to write into.
        joins_queries: one conversation for all queries of an image and split, instead of one for each query.
    """

    def __init__(self, folder: Path, joins_queries: bool = False) -> None:
        super().__init__(folder)
        self._joins_queries = joins_queries
        self._lines = JsonLines(folder)

    def add(self, sample: Sample) -> None:
        image = f"images/{self.save_image(sample)}"
        for split, queries in list_splits(sample):
            self.num_queries[split] += len(queries)
            for group in [queries] if self._joins_queries else [[query] for query in queries]:
                self._write(split, sample, image, group)

    def _write(self, split: str, sample: Sample, image: str, queries: Sequence[Query]) -> None:
        pairs = [(self.ask(query), self.answer(sample, query)) for query in queries]
        messages = [
            {"role": role, "content": text}
            for pair in pairs
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]
        messages[0]["content"] = f"<image>{messages[0]['content']}"
        self._lines.write(
            f"{split}.jsonl", {"messages": messages, "images": [image], **self.describe_objects(sample, queries)}
        )

    def finish(self) -> None:
        self._lines.close()

    @abstractmethod
    def ask(self, query: Query) -> str:
        """Return the question about a query."""

    @abstractmethod
    def answer(self, sample: Sample, query: Query) -> str:
        """Return the answer."""

    def describe_objects(self, sample: Sample, queries: Sequence[Query]) -> dict[str, Any]:
        """Return further fields of a line."""
        return {}


class SwiftExport(ConversationExport):
    """ms-swift's format for all of its models, which get the boxes in the numbers that each one knows."""

    def ask(self, query: Query) -> str:
        return "Locate <ref-object> in the image."

    def answer(self, sample: Sample, query: Query) -> str:
        return "<bbox>" * len(query.boxes_xyxy) or NO_TARGET_ANSWER

    def describe_objects(self, sample: Sample, queries: Sequence[Query]) -> dict[str, Any]:
        boxes = [list(box) for query in queries for box in query.boxes_xyxy]
        return {"objects": {"ref": [query.text for query in queries], "bbox": boxes}}


class QwenExport(ConversationExport):
    """Base of Qwen's formats, whose answers are JSON."""

    def ask(self, query: Query) -> str:
        return f'Locate "{query.text}" in the image. Answer with a list of bbox_2d in JSON.'

    def answer(self, sample: Sample, query: Query) -> str:
        boxes = [self.convert_box(sample, box) for box in query.boxes_xyxy]
        return json.dumps([{"bbox_2d": box, "label": query.text} for box in boxes], ensure_ascii=False)

    @abstractmethod
    def convert_box(self, sample: Sample, box: Box) -> list[int]:
        """Convert a box xyxy in pixels of the image to the format's numbers."""


class Qwen3Export(QwenExport):
    """Boxes in thousandths of the image."""

    def convert_box(self, sample: Sample, box: Box) -> list[int]:
        sides = (sample.width, sample.height) * 2
        return [round(1000 * value / side) for value, side in zip(box, sides, strict=True)]


def get_qwen25_size(width: int, height: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Return the width and height that Qwen2.5-VL's processor gives an image."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    resized_height, resized_width = smart_resize(height, width, QWEN_PATCH_PX, min_pixels, max_pixels)
    return resized_width, resized_height


class Qwen25Export(QwenExport):
    """Boxes in pixels of the image as Qwen2.5-VL's processor resizes it.

    Args:
        folder: existing folder to write into.
        joins_queries: one conversation for all queries of an image and split, instead of one for each query.
        min_pixels: ``min_pixels`` of the processor that you train with.
        max_pixels: ``max_pixels`` of that processor.
    """

    def __init__(
        self,
        folder: Path,
        joins_queries: bool = False,
        min_pixels: int = MIN_PIXELS,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        super().__init__(folder, joins_queries)
        self._limits = (min_pixels, max_pixels)

    def add(self, sample: Sample) -> None:
        if max(sample.width, sample.height) > 200 * min(sample.width, sample.height):
            self.left_out["image is more than 200 times as long as wide, which the processor refuses"] += len(
                sample.queries
            )
        else:
            super().add(sample)

    def convert_box(self, sample: Sample, box: Box) -> list[int]:
        width, height = get_qwen25_size(sample.width, sample.height, *self._limits)
        scales = (width / sample.width, height / sample.height) * 2
        return [round(value * scale) for value, scale in zip(box, scales, strict=True)]


class Florence2Export(Export):
    """Lines of an image, a ``prefix`` with the task and the query, and a ``suffix`` with the answer."""

    TASK = "<CAPTION_TO_PHRASE_GROUNDING>"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._lines = JsonLines(folder)

    def add(self, sample: Sample) -> None:
        image = f"images/{self.save_image(sample)}"
        for query in self.list_with_target(sample):
            self.num_queries[query.split] += 1
            sides = (sample.width, sample.height) * 2
            shares = (value / side for box in query.boxes_xyxy for value, side in zip(box, sides, strict=True))
            boxes = "".join(f"<loc_{min(int(share * NUM_LOCATIONS), NUM_LOCATIONS - 1)}>" for share in shares)
            line = {"image": image, "prefix": self.TASK + query.text, "suffix": query.text + boxes}
            self._lines.write(f"{query.split}.jsonl", line)

    def finish(self) -> None:
        self._lines.close()


class LlavaExport(Export):
    """One conversation for all queries of an image and split, in one JSON list."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._conversations: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)

    def add(self, sample: Sample) -> None:
        image = f"images/{self.save_image(sample)}"
        side = max(sample.width, sample.height)  # of the square, with the image in its middle
        offsets = ((side - sample.width) // 2, (side - sample.height) // 2) * 2
        for query in sample.queries:
            self.num_queries[query.split] += 1
            entry = self._conversations[query.split].setdefault(
                sample.key, {"id": sample.key, "image": image, "conversations": []}
            )
            first = "" if entry["conversations"] else "<image>\n"
            question = "Please provide the bounding box coordinate of the region this sentence describes: "
            boxes = ", ".join(
                str([round((value + offset) / side, 2) for value, offset in zip(box, offsets, strict=True)])
                for box in query.boxes_xyxy
            )
            entry["conversations"] += [
                {"from": "human", "value": f"{first}{question}{query.text}."},
                {"from": "gpt", "value": boxes or NO_TARGET_ANSWER},
            ]

    def finish(self) -> None:
        for split, entries in self._conversations.items():
            content = json.dumps(list(entries.values()), ensure_ascii=False)
            (self.folder / f"{split}.json").write_text(content, encoding="utf-8")
