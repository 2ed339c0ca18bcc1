"""Export to gRefCOCO's files: ``grefs(unc).json`` beside COCO's ``instances.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shards.boxes import Box
from shards.exports.export import Export, write_coco
from shards.schema import Query, Sample
from shards.sources.refer import NO_ANNOTATION


class GrefExport(Export):
    """Writer of gRefCOCO, with one ref for each query of none, one or several targets.

    A target that is no instance becomes one without a category.

    Args:
        folder: existing folder to write into.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._refs: list[dict[str, Any]] = []
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._categories: dict[str, int] = {}

    def add(self, sample: Sample) -> None:
        name, image_id = self.save_image(sample), len(self._images) + 1
        self._images.append({"id": image_id, "file_name": name, "width": sample.width, "height": sample.height})
        first = len(self._annotations) + 1
        for instance in sample.instances:
            self._add_annotation(image_id, instance.box_xyxy, instance.category, instance.is_crowd)
        unnamed: dict[Box, int] = {}
        for query in sample.queries:
            self.num_queries[query.split] += 1
            if query.instances is not None:
                targets = [first + i for i in query.instances]
            else:
                for box in query.boxes_xyxy:
                    if box not in unnamed:
                        unnamed[box] = self._add_annotation(image_id, box, "", is_crowd=False)
                targets = [unnamed[box] for box in dict.fromkeys(query.boxes_xyxy)]
            self._add_ref(query, name, image_id, targets)

    def _add_annotation(self, image_id: int, box: Box, category: str, is_crowd: bool) -> int:
        """Add an annotation and return its id."""
        x1, y1, x2, y2 = box
        self._annotations.append(
            {
                "id": len(self._annotations) + 1,
                "image_id": image_id,
                "category_id": self._categories.setdefault(category, len(self._categories) + 1),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": int(is_crowd),
            }
        )
        return len(self._annotations)

    def _add_ref(self, query: Query, image_file: str, image_id: int, targets: list[int]) -> None:
        number = len(self._refs) + 1
        self._refs.append(
            {
                "ref_id": number,
                "ann_id": targets or [NO_ANNOTATION],
                "category_id": [self._annotations[i - 1]["category_id"] for i in targets] or [NO_ANNOTATION],
                "image_id": image_id,
                "file_name": image_file,
                "split": query.split,
                "sent_ids": [number],
                "sentences": [
                    {"sent": query.text, "raw": query.text, "sent_id": number, "tokens": query.text.split()},
                ],
            }
        )

    def finish(self) -> None:
        write_coco(self.folder / "instances.json", self._images, self._annotations, self._categories)
        (self.folder / "grefs(unc).json").write_text(json.dumps(self._refs), encoding="utf-8")
