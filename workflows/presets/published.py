"""What the published recipe takes for each of the six data sets; all else is the same for them."""

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
"""Data set to the DETR that was trained on COCO without the data set's validation and test images (VLTVG's files)."""
