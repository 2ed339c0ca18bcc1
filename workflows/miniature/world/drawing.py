"""Drawings of the world's objects: twelve categories, ten colors, three patterns, with Pillow.

An object fills its box exactly: every outline touches all four sides, so the box needs no measuring.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Color = tuple[int, int, int]

COLORS: dict[str, Color] = {
    "red": (214, 40, 40),
    "orange": (247, 140, 30),
    "yellow": (250, 222, 50),
    "green": (50, 160, 70),
    "blue": (40, 90, 205),
    "purple": (128, 60, 175),
    "pink": (245, 150, 195),
    "brown": (125, 78, 42),
    "black": (38, 38, 42),
    "white": (248, 248, 248),
}
PATTERNS = ("plain", "striped", "dotted")
LIGHT_COLORS = frozenset({"yellow", "pink", "white", "orange"})
OUTLINE: Color = (25, 25, 30)
SUPERSAMPLING = 4

Drawer = Callable[[ImageDraw.ImageDraw, int, int], None]
"""Function that fills a shape with 255 on a mask of the given width and height."""


def _draw_ball(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
    draw.ellipse((0, 0, w - 1, h - 1), fill=255)


def _draw_box(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
    draw.rectangle((0, 0, w - 1, h - 1), fill=255)


def _draw_star(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
    points = []
    for i in range(10):
        radius = 1.0 if i % 2 == 0 else 0.45
        angle = math.pi * (i / 5 - 0.5)
        points.append((radius * math.cos(angle), radius * math.sin(angle)))
    _draw_fitted_polygon(draw, points, w, h)


def _draw_heart(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
    points = []
    for i in range(40):
        t = 2 * math.pi * i / 40
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((16 * math.sin(t) ** 3, -y))
    _draw_fitted_polygon(draw, points, w, h)


def _draw_fitted_polygon(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], w: int, h: int) -> None:
    """Stretch a polygon until it touches all four sides, and fill it."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    scale_x, scale_y = (w - 1) / (max(xs) - min(xs)), (h - 1) / (max(ys) - min(ys))
    draw.polygon([((x - min(xs)) * scale_x, (y - min(ys)) * scale_y) for x, y in points], fill=255)


def _draw_cup(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
    ring = max(2, round(0.09 * w))
    draw.ellipse((0.52 * w, 0.18 * h, w - 1, 0.72 * h), outline=255, width=ring)
    draw.polygon([(0, 0), (0.76 * w, 0), (0.66 * w, h - 1), (0.1 * w, h - 1)], fill=255)


def _draw_bottle(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
    draw.rectangle((0.3 * w, 0, 0.7 * w, 0.4 * h), fill=255)
    draw.ellipse((0, 0.24 * h, w - 1, 0.56 * h), fill=255)
    draw.rectangle((0, 0.4 * h, w - 1, h - 1), fill=255)


def _draw_fish(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
    draw.ellipse((0, 0, 0.74 * w, h - 1), fill=255)
    draw.polygon([(0.6 * w, 0.5 * h), (w - 1, 0.05 * h), (w - 1, 0.95 * h)], fill=255)


def _draw_car(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
    draw.polygon([(0.22 * w, 0.42 * h), (0.34 * w, 0), (0.7 * w, 0), (0.84 * w, 0.42 * h)], fill=255)
    draw.rectangle((0, 0.36 * h, w - 1, 0.8 * h), fill=255)
    for x in (0.25, 0.75):
        draw.ellipse((x * w - 0.2 * h, 0.6 * h - 1, x * w + 0.2 * h, h - 1), fill=255)


def _draw_house(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
    draw.polygon([(0, 0.48 * h), (0.5 * w, 0), (w - 1, 0.48 * h)], fill=255)
    draw.rectangle((0.13 * w, 0.46 * h, 0.87 * w, h - 1), fill=255)


def _draw_mushroom(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
    draw.pieslice((0, 0, w - 1, 1.2 * h), 180, 360, fill=255)
    draw.rectangle((0.34 * w, 0.55 * h, 0.66 * w, h - 1), fill=255)


def _draw_kite(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
    draw.polygon([(0.5 * w, 0), (w - 1, 0.4 * h), (0.5 * w, h - 1), (0, 0.4 * h)], fill=255)


def _draw_hat(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
    draw.rectangle((0.22 * w, 0, 0.78 * w, 0.8 * h), fill=255)
    draw.rectangle((0, 0.72 * h, w - 1, h - 1), fill=255)


SHAPES: dict[str, tuple[float, Drawer]] = {
    "ball": (1.0, _draw_ball),
    "box": (1.0, _draw_box),
    "star": (1.05, _draw_star),
    "heart": (1.05, _draw_heart),
    "cup": (1.2, _draw_cup),
    "bottle": (0.42, _draw_bottle),
    "fish": (1.65, _draw_fish),
    "car": (1.75, _draw_car),
    "house": (0.95, _draw_house),
    "mushroom": (1.1, _draw_mushroom),
    "kite": (0.72, _draw_kite),
    "hat": (1.5, _draw_hat),
}
"""Aspect ratio (width / height) and drawer of each category."""

CATEGORIES = tuple(SHAPES)
PLURALS = {
    "box": "boxes",
    "fish": "fish",
    **{name: f"{name}s" for name in CATEGORIES if name not in ("box", "fish")},
}


def compute_object_size(category: str, extent: int) -> tuple[int, int]:
    """Return (width, height) in pixels of an object whose geometric mean side is ``extent_px`` pixels."""
    aspect = SHAPES[category][0]
    return max(4, round(extent * math.sqrt(aspect))), max(4, round(extent / math.sqrt(aspect)))


def _draw_surface(color: str, pattern: str, w: int, h: int, unit: int) -> Image.Image:
    """Draw the surface of an object: flat, vertical stripes or a grid of dots, scaled to the object's extent."""
    image = Image.new("RGB", (w, h), COLORS[color])
    mark = (60, 60, 66) if color in LIGHT_COLORS else (250, 250, 250)
    draw = ImageDraw.Draw(image)
    if pattern == "striped":
        period = max(4.6 * SUPERSAMPLING, unit / 4.5)
        for i in range(int(w / period) + 1):
            left = (i + 0.3) * period
            draw.rectangle((left, 0, left + 0.42 * period, h), fill=mark)
    elif pattern == "dotted":
        spacing = max(5.0 * SUPERSAMPLING, unit / 3.8)
        radius = 0.27 * spacing
        for i, j in product(range(int(w / spacing) + 2), range(int(h / spacing) + 2)):
            x, y = (i + 0.3 + 0.5 * (j % 2)) * spacing, (j + 0.5) * spacing
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=mark)
    return image


@lru_cache(maxsize=50_000)
def draw_sprite(category: str, color: str, pattern: str, extent: int) -> Image.Image:
    """Draw an object as an RGBA image that it fills exactly."""
    width, height = compute_object_size(category, extent)
    w, h = width * SUPERSAMPLING, height * SUPERSAMPLING
    mask = Image.new("L", (w, h), 0)
    SHAPES[category][1](ImageDraw.Draw(mask), w, h)
    framed = Image.new("L", (w + 8, h + 8), 0)
    framed.paste(mask, (4, 4))
    inner = framed.filter(ImageFilter.MinFilter(5)).crop((4, 4, w + 4, h + 4))
    painted = _draw_surface(color, pattern, w, h, extent * SUPERSAMPLING)
    _draw_details(painted, category, w, h)
    painted = Image.composite(painted, Image.new("RGB", (w, h), OUTLINE), inner)
    painted.putalpha(ImageChops.lighter(mask, inner))
    return painted.resize((width, height), Image.Resampling.BOX)


def _draw_details(image: Image.Image, category: str, w: int, h: int) -> None:
    """Draw details that tell similar outlines apart: wheels, an eye, a door, a lid, a stem."""
    draw = ImageDraw.Draw(image)
    if category == "car":
        for x in (0.25, 0.75):
            draw.ellipse((x * w - 0.2 * h, 0.6 * h, x * w + 0.2 * h, h), fill=OUTLINE)
        draw.polygon(
            [(0.33 * w, 0.34 * h), (0.4 * w, 0.1 * h), (0.64 * w, 0.1 * h), (0.72 * w, 0.34 * h)],
            fill=(190, 225, 245),
        )
    elif category == "fish":
        draw.ellipse((0.12 * w, 0.24 * h, 0.24 * w, 0.48 * h), fill=(255, 255, 255), outline=OUTLINE, width=3)
    elif category == "house":
        draw.rectangle((0.41 * w, 0.66 * h, 0.59 * w, h), fill=(80, 55, 40))
    elif category == "box":
        draw.rectangle((0, 0.2 * h, w, 0.27 * h), fill=OUTLINE)
    elif category == "mushroom":
        draw.rectangle((0.3 * w, 0.6 * h, 0.7 * w, h), fill=(240, 228, 205))
    elif category == "hat":
        draw.rectangle((0.2 * w, 0.54 * h, 0.8 * w, 0.7 * h), fill=OUTLINE)


BACKGROUNDS: tuple[tuple[Color, Color], ...] = (
    ((222, 228, 232), (222, 228, 232)),
    ((205, 220, 205), (205, 220, 205)),
    ((226, 214, 196), (226, 214, 196)),
    ((196, 222, 240), (176, 200, 160)),
    ((228, 222, 214), (188, 170, 148)),
    ((206, 206, 220), (168, 172, 184)),
)
"""Colors above and below the horizon; they are equal for a plain wall."""


def draw_background(width: int, height: int, kind: int, horizon: float) -> Image.Image:
    """Draw a wall, or a wall and a floor that meet at ``horizon`` (share of the height)."""
    above, below = BACKGROUNDS[kind]
    image = Image.new("RGB", (width, height), above)
    if below != above:
        ImageDraw.Draw(image).rectangle((0, round(horizon * height), width, height), fill=below)
    return image


@dataclass(frozen=True, kw_only=True)
class WorldObject:
    """Drawn object."""

    category: str
    color: str
    pattern: str
    extent_px: int
    """Geometric mean of width and height."""

    x: int
    y: int
    """Top edge in pixels; ``x`` is the left edge."""

    @property
    def box_xyxy(self) -> tuple[float, float, float, float]:
        width, height = compute_object_size(self.category, self.extent_px)
        return (float(self.x), float(self.y), float(self.x + width), float(self.y + height))

    @property
    def combination(self) -> tuple[str, str, str]:
        """Return category, color and pattern."""
        return (self.category, self.color, self.pattern)


@dataclass(frozen=True, kw_only=True)
class WorldScene:
    """Size, background and objects of an image to draw."""

    width: int
    height: int
    background_kind: int
    horizon: float
    objects: tuple[WorldObject, ...]

    def scale(self, factor: int) -> WorldScene:
        """Return the scene with all lengths multiplied by a factor."""
        objects = tuple(
            replace(one, extent_px=factor * one.extent_px, x=factor * one.x, y=factor * one.y) for one in self.objects
        )
        return replace(self, width=factor * self.width, height=factor * self.height, objects=objects)

    def draw(self) -> Image.Image:
        image = draw_background(self.width, self.height, self.background_kind, self.horizon)
        for obj in self.objects:
            sprite_image = draw_sprite(obj.category, obj.color, obj.pattern, obj.extent_px)
            image.paste(sprite_image, (obj.x, obj.y), sprite_image)
        return image
