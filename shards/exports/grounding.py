"""Export to COCO's JSON with captions for MDETR, GLIP and Grounding DINO: ``<name>_<split>.json``."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from shards.boxes import Box
from shards.exports.export import Export, write_coco
from shards.schema import Query, Sample
from shards.sources.grounding import PHRASE_DATASETS


class GroundingExport(Export):
    """Writer with one image entry for each query, its text as the caption, and one annotation for each of its boxes.

    Args:
        folder: existing folder to write into.
        name: ``dataset_name`` of the entries. flickr and mixed get a suffix, since trainers take the captions of
            those names apart into phrases.
    """

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder)
        self._name = f"{name}-queries" if name in PHRASE_DATASETS else name
        self._images: dict[str, list[Any]] = defaultdict(list)
        self._annotations: dict[str, list[Any]] = defaultdict(list)
        self._categories: dict[str, int] = {"object": 1}

    def add(self, sample: Sample) -> None:
        image_file = self.save_image(sample)
        for query in self.list_with_target(sample):
            self.num_queries[query.split] += 1
            number = len(self._images[query.split]) + 1
            self._images[query.split].append(
                {
                    "id": number,
                    "file_name": image_file,
                    "width": sample.width,
                    "height": sample.height,
                    "caption": query.text,
                    "dataset_name": self._name,
                    "tokens_negative": [],
                }
            )
            for i, box in enumerate(query.boxes_xyxy):
                instance = None if query.instances is None else sample.instances[query.instances[i]]
                self._add_box(query, box, (instance and instance.category) or "object", number)

    def _add_box(self, query: Query, box: Box, category: str, image: int) -> None:
        x1, y1, x2, y2 = box
        self._annotations[query.split].append(
            {
                "id": len(self._annotations[query.split]) + 1,
                "image_id": image,
                "category_id": self._categories.setdefault(category, len(self._categories) + 1),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
                "tokens_positive": [[0, len(query.text)]],
            }
        )

    def finish(self) -> None:
        for split, images in self._images.items():
            path = self.folder / f"{self._name}_{split}.json"
            write_coco(path, images, self._annotations[split], self._categories)
