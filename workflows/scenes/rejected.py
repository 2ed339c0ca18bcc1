"""Images of rejected scenes: one sheet for each composer and reason, made from the attachments of the rounds."""

from __future__ import annotations

from collections import defaultdict

from PIL import Image
from upath import UPath

from augmentation.detection.detected import decode_preview
from pipeline import read_attachments, read_receipts, write_atomic
from shards.images import encode_png
from shards.tiles import PREDICTED, make_sheet, make_tile
from workflows.cli.console import print_path
from workflows.scenes.rounds import Rounds


def draw_rejected(rounds: Rounds, output: UPath, max_scenes: int) -> None:
    """Write ``<output>/<composer>-<reason>.png`` with up to ``max_scenes`` scenes each, their detections boxed."""
    tiles: dict[str, list[Image.Image]] = defaultdict(list)
    for run in rounds.runs if max_scenes else ():
        for receipt in read_receipts(run.folder):
            for row in read_attachments(run.folder, receipt):
                of_reason = tiles[f"{run.composer}-{row['reason']}"]
                if len(of_reason) < max_scenes:
                    image, boxes = decode_preview(row["attachment"])
                    of_reason.append(make_tile(image, row["detail"], [(box, PREDICTED) for box in boxes]))
    for name, of_reason in tiles.items():
        write_atomic(output / f"{name}.png", encode_png(make_sheet(of_reason)))
    if tiles:
        print_path("images of rejected scenes", output)
