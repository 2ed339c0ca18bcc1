"""Export to ODVG, the JSON lines of MM-Grounding-DINO and Open-GroundingDINO: ``<split>.jsonl``.

A line is an image with one query as its caption and only phrase. Each target is a region with that phrase:
Open-GroundingDINO reads no list of boxes. The first line of an image also has its objects (``detection``), by the
labels in ``label_map.json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shards.exports.export import Export, JsonLines
from shards.schema import Sample


class OdvgExport(Export):
    """Writer of ODVG."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._lines = JsonLines(folder)
        self._labels: dict[str, int] = {}

    def add(self, sample: Sample) -> None:
        about = {"filename": self.save_image(sample), "height": sample.height, "width": sample.width}
        splits: set[str] = set()
        for query in self.list_with_target(sample):
            self.num_queries[query.split] += 1
            regions = [
                {"bbox": list(box), "phrase": query.text, "tokens_positive": [[0, len(query.text)]]}
                for box in query.boxes_xyxy
            ]
            line: dict[str, Any] = {**about, "grounding": {"caption": query.text, "regions": regions}}
            if query.split not in splits:
                line["detection"] = {"instances": self._describe_objects(sample)}
                splits.add(query.split)
            self._lines.write(f"{query.split}.jsonl", line)
        self.left_out["object has no category"] += sum(not instance.category for instance in sample.instances)

    def _describe_objects(self, sample: Sample) -> list[dict[str, Any]]:
        return [
            {
                "bbox": list(instance.box_xyxy),
                "label": self._labels.setdefault(instance.category, len(self._labels)),
                "category": instance.category,
            }
            for instance in sample.instances
            if instance.category
        ]

    def finish(self) -> None:
        self._lines.close()
        label_map = {str(label): category for category, label in self._labels.items()}
        (self.folder / "label_map.json").write_text(json.dumps(label_map), encoding="utf-8")
