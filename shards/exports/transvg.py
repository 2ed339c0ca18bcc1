"""Export to the files of TransVG, VLTVG and ResVG: ``<name>_<split>.pth``, and ``<split>_fea.pth`` for priors.

The folder is both their ``split_root``, in which they read a folder of the dataset's name, and their ``data_root``.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from shards.exports.export import NO_TARGET, Export
from shards.schema import Sample


class TransvgExport(Export):
    """Writer of rows (image file, mask file, box xywh, phrase, attributes) with empty mask and attributes.

    Args:
        folder: existing folder to write into.
        name: dataset that those trainers know: unc, unc+, gref or gref_umd.
    """

    image_folder = "other/images/mscoco/images/train2014"
    """Folder below ``data_root`` in which those trainers read the images of these datasets."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder)
        self._name = name
        self._rows: dict[str, list[Any]] = defaultdict(list)
        self._features: dict[str, list[Any]] = defaultdict(list)

    def add(self, sample: Sample) -> None:
        """Add a sample; several targets become the smallest box around them."""
        image_file = self.save_image(sample)
        for i, query in enumerate(sample.queries):
            if not query.boxes_xyxy:
                self.left_out[NO_TARGET] += 1
                continue
            self.num_queries[query.split] += 1
            x1, y1, x2, y2 = query.box_xyxy
            self._rows[query.split].append((image_file, "", [x1, y1, x2 - x1, y2 - y1], query.text, []))
            if sample.priors is not None:
                self._features[query.split].append(sample.priors[i])

    def finish(self) -> None:
        """Write one file for each split, and one for its features if all samples have priors."""
        import torch

        splits = self.folder / self._name
        splits.mkdir()
        for split, rows in self._rows.items():
            torch.save(rows, splits / f"{self._name}_{split}.pth")
            if len(self._features[split]) == len(rows):
                features = torch.from_numpy(np.stack(self._features[split]).astype(np.float32))
                torch.save(features, splits / f"{split}_fea.pth")
