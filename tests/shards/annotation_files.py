"""Small sound files of each annotation format, for tests to read, break and mutate."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any


def write_refer(folder: Path, **changes: Any) -> Path:
    """One 10 x 8 image with two cups, the first referred to twice."""
    folder.mkdir(parents=True, exist_ok=True)
    ref = {
        "ref_id": 5,
        "ann_id": 11,
        "image_id": 3,
        "split": "val",
        "category_id": 1,
        "file_name": "photo_11.jpg",
        "sent_ids": [7, 8],
        "sentences": [{"sent": "left cup", "sent_id": 7}, {"sent": "small cup", "sent_id": 8}],
        **changes,
    }
    coco = {
        "images": [{"id": 3, "file_name": "photo.png", "width": 10, "height": 8}],
        "annotations": [
            {"id": 11, "image_id": 3, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0},
            {"id": 12, "image_id": 3, "category_id": 1, "bbox": [5, 2, 5, 6], "iscrowd": 1},
        ],
        "categories": [{"id": 1, "name": "Cup"}],
    }
    (folder / "refs(unc).p").write_bytes(pickle.dumps([ref], protocol=2))
    (folder / "instances.json").write_text(json.dumps(coco))
    return folder
