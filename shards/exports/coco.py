"""Export of the objects to COCO's JSON for detectors: ``instances_<split>.json``; queries are left out."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from shards.exports.export import Export, write_coco
from shards.schema import Sample


class CocoExport(Export):
    """Writer of COCO's JSON. An image belongs to each split of its queries."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._images: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._annotations: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._categories: dict[str, int] = {}

    def add(self, sample: Sample) -> None:
        name = self.save_image(sample)
        for split in sorted({query.split for query in sample.queries}):
            image_id = len(self._images[split]) + 1
            about = {"id": image_id, "file_name": name, "width": sample.width, "height": sample.height}
            self._images[split].append(about)
            for instance in sample.instances:
                if not instance.category:
                    self.left_out["object has no category"] += 1
                    continue
                x1, y1, x2, y2 = instance.box_xyxy
                self._annotations[split].append(
                    {
                        "id": len(self._annotations[split]) + 1,
                        "image_id": image_id,
                        "category_id": self._categories.setdefault(instance.category, len(self._categories) + 1),
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": (x2 - x1) * (y2 - y1),
                        "iscrowd": int(instance.is_crowd),
                    }
                )
        self.left_out["query: COCO's detection format has none"] += len(sample.queries)

    def finish(self) -> None:
        for split, images in self._images.items():
            path = self.folder / f"instances_{split}.json"
            write_coco(path, images, self._annotations[split], self._categories)
