"""Extraction of cut-outs: by annotated polygons, or by GrabCut from images of a single object.

Both keep only whole objects, and give a reason for each excluded one.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from augmentation.composers.cutouts import OPAQUE_ALPHA
from pipeline import LimitedConfig, NotNegativeFloat, Range, Share
from shards.boxes import Box
from shards.sources.coco_polygons import PolygonAnnotation, PolygonImage

Mask = npt.NDArray[np.uint8]
"""Mask, (height, width), 255 for the object."""

Counts = npt.NDArray[np.uint16]
"""Number of polygons on each pixel, (height, width)."""

ExclusionReason = Literal[
    "crowd",
    "corrupt_polygon",
    "outside_image",
    "zero_area",
    "too_small",
    "cut_off_by_border",
    "in_pieces",
    "touches_another",
    "thin",
    "no_object",
    "fills_the_image",
]
"""Reason for which an object is excluded."""

_SUPERSAMPLING = 4
_MAX_SUPERSAMPLED_PX2 = 4_000_000
"""Maximum size of a supersampled mask; soft edges are invisible in larger objects."""

_OUTSIDE_PX = 1.0
"""Tolerance of polygons outside the image, for rounding."""

_NEAR_PX = 5
"""Side of the square in which a pixel of another object makes an edge pixel shared."""


@dataclass(frozen=True, kw_only=True)
class CutoutConfig(LimitedConfig):
    """Limits of usable cut-outs."""

    min_size_px: int = 56
    """Minimum geometric mean of width and height; smaller cut-outs would be enlarged."""

    min_border_px: NotNegativeFloat = 2.0
    """Minimum distance from the border of the image; nearer objects are cut off by it."""

    min_fill: Share = 0.25
    """Minimum share of its box that an object fills; one that fills less is mostly hidden, or a frame."""

    min_piece_share: Share = 0.97
    """Minimum share of an object in its largest piece; an object in several pieces is partly hidden."""

    max_shared_edge: Share = 0.12
    """Maximum share of the edge along another annotated object; one of both hides the other."""

    max_shared_area: Share = 0.02
    """Maximum share of an object that others cover, such as cups on a table; they would be cut out with it."""

    max_side_px: int = 512
    """Maximum side of a cut-out; larger ones are scaled down."""

    grabcut_side_px: Annotated[int, Range(32)] = 256
    """Maximum side of an image for GrabCut, whose time grows with the pixels."""

    border_share: Annotated[float, Range(0, 0.5, low_open=True, high_open=True)] = 0.04
    """Width of the border that GrabCut takes as background, as a share of the image's sides."""

    max_image_share: Share = 0.75
    """Maximum share of the image that an object covers; a larger one has no background around it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.min_size_px <= self.max_side_px:
            raise ValueError(
                f"1 <= min_size_px <= max_side_px must hold, got {self.min_size_px} and {self.max_side_px}"
            )


def cut_polygons(
    image: Image.Image, polygon_image: PolygonImage, wanted: Sequence[PolygonAnnotation], config: CutoutConfig
) -> Iterator[tuple[PolygonAnnotation, Image.Image | ExclusionReason]]:
    """Yield each wanted polygon with its cut-out, an RGBA image, or the reason for its exclusion.

    Args:
        image: RGB, of the size of the annotation.
        polygon_image: all polygons of the image.
        wanted: polygons to cut out.
        config: limits of usable cut-outs.
    """
    coverage = _count_coverage(polygon_image)
    for outline in wanted:
        yield outline, _cut_polygon(image, outline, coverage, config)


def find_polygon_problem(
    outline: PolygonAnnotation, size: tuple[int, int], config: CutoutConfig
) -> ExclusionReason | None:
    """Find the reason to exclude a polygon without its image; return None if there is none.

    Args:
        outline: annotated polygons of one object.
        size: (width, height) of the image.
        config: limits of usable cut-outs.
    """
    if outline.is_crowd:
        return "crowd"
    if not outline.coordinates or any(len(one) < 6 or len(one) % 2 for one in outline.coordinates):
        return "corrupt_polygon"
    if not all(map(math.isfinite, (number for one in outline.coordinates for number in one))):
        return "corrupt_polygon"
    x1, y1, x2, y2 = _compute_box(outline.coordinates)
    if min(x1, y1, size[0] - x2, size[1] - y2) < -_OUTSIDE_PX:
        return "outside_image"
    if sum(map(_compute_area, outline.coordinates)) < 1:
        return "zero_area"
    if math.sqrt((x2 - x1) * (y2 - y1)) < config.min_size_px:
        return "too_small"
    if min(x1, y1, size[0] - x2, size[1] - y2) < config.min_border_px:
        return "cut_off_by_border"
    return None


def _cut_polygon(
    image: Image.Image, outline: PolygonAnnotation, coverage: Counts, config: CutoutConfig
) -> Image.Image | ExclusionReason:
    if problem := find_polygon_problem(outline, image.size, config):
        return problem
    assert outline.coordinates  # else it was corrupt
    left, top, right, bottom = _compute_pixel_box(outline.coordinates, image.size)
    mask = rasterize_polygons(outline.coordinates, (left, top, right, bottom))
    if problem := _find_mask_problem(mask, config):
        return problem
    if _compute_shared_edge(mask, (left, top), coverage) > config.max_shared_edge:
        return "touches_another"
    own = mask >= OPAQUE_ALPHA
    num_shared_px = (own & (coverage[top:bottom, left:right] > 1)).sum()
    if num_shared_px / max(1, own.sum()) > config.max_shared_area:
        return "touches_another"
    return _make_cutout(image.crop((left, top, right, bottom)), mask, config)


def _compute_box(polygons: Sequence[array[float]]) -> Box:
    xs, ys = [x for one in polygons for x in one[::2]], [y for one in polygons for y in one[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


def _compute_pixel_box(polygons: Sequence[array[float]], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Compute the box in whole pixels, rounded outwards, inside the image."""
    x1, y1, x2, y2 = _compute_box(polygons)
    return max(0, math.floor(x1)), max(0, math.floor(y1)), min(size[0], math.ceil(x2)), min(size[1], math.ceil(y2))


def _compute_area(polygon: array[float]) -> float:
    """Compute the area of one polygon in square pixels, by the shoelace formula."""
    corners = list(zip(polygon[::2], polygon[1::2], strict=True))
    turned = zip(corners, [*corners[1:], corners[0]], strict=True)
    return abs(sum(ax * by - bx * ay for (ax, ay), (bx, by) in turned)) / 2


def rasterize_polygons(polygons: Sequence[array[float]], box: tuple[int, int, int, int]) -> Mask:
    """Rasterize the union of polygons inside a box in whole pixels; edge pixels are as opaque as they are covered."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    finer = _SUPERSAMPLING if width * height * _SUPERSAMPLING**2 <= _MAX_SUPERSAMPLED_PX2 else 1
    canvas = Image.new("L", (width * finer, height * finer))
    draw = ImageDraw.Draw(canvas)
    for one in polygons:
        corners = zip(one[::2], one[1::2], strict=True)
        # Pillow paints the pixels whose centers lie inside, and the edge itself: half a fine pixel too much
        draw.polygon([((x - left) * finer - 0.5, (y - top) * finer - 0.5) for x, y in corners], fill=255)
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX))


def _count_coverage(polygon_image: PolygonImage) -> Counts:
    """Count the valid polygons on each pixel, (height, width)."""
    count = np.zeros((polygon_image.size[1], polygon_image.size[0]), np.uint16)
    for outline in polygon_image.instances:
        if outline.coordinates is None or find_polygon_problem(outline, polygon_image.size, _NO_LIMITS) is not None:
            continue
        left, top, right, bottom = _compute_pixel_box(outline.coordinates, polygon_image.size)
        count[top:bottom, left:right] += (
            rasterize_polygons(outline.coordinates, (left, top, right, bottom)) >= OPAQUE_ALPHA
        )
    return count


_NO_LIMITS = CutoutConfig(min_size_px=1, min_border_px=0.0)
"""Configuration without limits: small objects and cut-off ones can hide others, too."""


def _compute_shared_edge(mask: Mask, corner: tuple[int, int], coverage: Counts) -> float:
    """Compute the share of an object's edge that is beside or on another object; ``corner`` is its (left, top)."""
    (left, top), (height, width) = corner, mask.shape
    own = np.pad((mask >= OPAQUE_ALPHA).astype(np.uint8), _NEAR_PX)
    padded = np.pad(coverage, _NEAR_PX)  # so that the window around the object lies inside
    coverage = padded[top : top + height + 2 * _NEAR_PX, left : left + width + 2 * _NEAR_PX]
    edge = own - cv2.erode(own, np.ones((3, 3), np.uint8), borderValue=0)
    others = (coverage > own).astype(np.uint8)
    near = cv2.dilate(others, np.ones((_NEAR_PX, _NEAR_PX), np.uint8))
    return float((edge & near).sum() / max(1, edge.sum()))


def _find_mask_problem(mask: Mask, config: CutoutConfig) -> ExclusionReason | None:
    """Find the reason to exclude an object by its mask; return None if there is none."""
    opaque = (mask >= OPAQUE_ALPHA).astype(np.uint8)
    if not opaque.any():
        return "zero_area"
    if _find_largest_piece(opaque)[0] < config.min_piece_share:
        return "in_pieces"
    rows, columns = np.flatnonzero(opaque.any(1)), np.flatnonzero(opaque.any(0))
    box_area = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    if math.sqrt(box_area) < config.min_size_px:
        return "too_small"
    return "thin" if opaque.sum() / box_area < config.min_fill else None


def _find_largest_piece(opaque: Mask) -> tuple[float, Mask]:
    """Find the largest connected piece; return its share and its mask of 0 and 1."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(opaque, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    largest = 1 + int(areas.argmax())
    return float(areas.max() / areas.sum()), (labels == largest).astype(np.uint8)


def _make_cutout(image: Image.Image, mask: Mask, config: CutoutConfig) -> Image.Image:
    """Make an RGBA cut-out within the size limit, black where it is fully transparent."""
    pixels = np.dstack([np.where(mask[..., None] > 0, np.asarray(image), 0), mask]).astype(np.uint8)
    cutout = Image.fromarray(pixels, "RGBA")
    cutout = cutout.crop(cutout.getchannel("A").getbbox())
    cutout.thumbnail((config.max_side_px, config.max_side_px), Image.Resampling.LANCZOS)
    return cutout


def cut_single(image: Image.Image, config: CutoutConfig) -> Image.Image | ExclusionReason:
    """Cut out the single object of an image as RGBA, or return the reason for its exclusion.

    GrabCut (Rother, Kolmogorov & Blake, SIGGRAPH 2004) takes a strip along the border as background and the rest as
    unknown. The object is kept if it is whole, in one piece, and within the limits of size.
    """
    small = image.copy()
    small.thumbnail((config.grabcut_side_px, config.grabcut_side_px), Image.Resampling.BOX)
    opaque = _extract_foreground(np.asarray(small), config)
    if not opaque.any():
        return "no_object"
    share, piece = _find_largest_piece(opaque)
    if share < config.min_piece_share:
        return "in_pieces"
    if piece.mean() > config.max_image_share:
        return "fills_the_image"
    strip = _make_border_mask(piece.shape, config)
    if cv2.dilate(piece, np.ones((3, 3), np.uint8))[strip].any():
        return "cut_off_by_border"
    mask = np.asarray(Image.fromarray(piece * np.uint8(255)).resize(image.size, Image.Resampling.BICUBIC))
    return _find_mask_problem(mask, config) or _make_cutout(image, mask, config)


def _extract_foreground(pixels: npt.NDArray[np.uint8], config: CutoutConfig) -> Mask:
    """Segment the object by GrabCut to a mask of 0 and 1, (height, width)."""
    labels = np.full(pixels.shape[:2], cv2.GC_PR_FGD, np.uint8)
    strip = _make_border_mask(labels.shape, config)
    if bool((pixels == pixels[0, 0]).all()):  # GrabCut fails on an image of one color
        return np.zeros_like(labels)
    labels[strip] = cv2.GC_BGD
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(pixels[..., ::-1].copy(), labels, None, *models, 5, cv2.GC_INIT_WITH_MASK)
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)


def _make_border_mask(shape: tuple[int, ...], config: CutoutConfig) -> npt.NDArray[np.bool_]:
    """Make a mask, (height, width), that is True along the border."""
    strip = np.ones(shape[:2], bool)
    down, across = (max(2, round(config.border_share * side)) for side in shape[:2])
    strip[down:-down, across:-across] = False
    return strip
