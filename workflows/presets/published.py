"""Values of the published recipe that differ between the six datasets."""

from __future__ import annotations

DETR_WEIGHTS = {
    "refcoco": "detr-r50-unc.pth",
    "refcoco+": "detr-r50-unc.pth",
    "refcocog": "detr-r50-gref.pth",
    "refcocog-google": "detr-r50-gref.pth",
    "refcocog-umd": "detr-r50-gref.pth",
    "referit": "detr-r50-referit.pth",
    "flickr30k": "detr-r50-referit.pth",
}
"""DETR weights of VLTVG, trained on COCO without the dataset's validation and test images, by dataset."""
