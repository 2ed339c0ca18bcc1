"""Random scenes, and the same with their boxes slightly off."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from augmentation.relations.scene import Contact, Scene, SceneObject

COLORS = ("red", "blue")


def random_scene(seed: int) -> Scene:
    """2 to 8 cups and up to 3 balls of known or unknown colors; scattered, in rows, columns, grids or in depth."""
    random = Random(seed)
    width, height = random.choice(((64, 64), (96, 96), (112, 84), (640, 427)))
    cups = random.randint(2, 8)
    known = random.random() < 0.8
    rows = random.choice((None, None, 1, 2, cups))
    in_depth = rows is None and random.random() < 0.5
    stray = random.choice((0.005, 0.03))
    objects = []
    for i in range(cups + random.randint(0, 3)):
        size = [random.uniform(0.08, 0.25) * extent for extent in (width, height)]
        place = [random.uniform(s / 2, extent - s / 2) for s, extent in zip(size, (width, height), strict=True)]
        if in_depth:
            size = [s * (0.4 + place[1] / height) for s in size]
        if rows and i < cups:
            columns = -(-cups // rows)
            cell = (i % columns + 0.5) / columns * width, (i // columns + 0.5) / rows * height
            place = [c + random.uniform(-stray, stray) * width for c in cell]
        box = [place[0] - size[0] / 2, place[1] - size[1] / 2, place[0] + size[0] / 2, place[1] + size[1] / 2]
        inside = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height)))
        color = {"color": random.choice(COLORS)} if known or random.random() < 0.5 else {}
        objects.append(SceneObject(box_xyxy=inside, category="cup" if i < cups else "ball", attributes=color))
    scene = Scene(width=width, height=height, objects=tuple(objects), perspective=in_depth)
    return _add_contacts(scene, cups, random) if random.random() < 0.3 else scene


def _add_contacts(scene: Scene, cups: int, random: Random) -> Scene:
    """Some of the cups are on or in a ball, wherever they are; some objects were not placed by the composer."""
    balls = range(cups, len(scene.objects))
    contacts = tuple(
        Contact(kind=random.choice(("on", "in")), object_index=i, anchor_index=random.choice(balls))
        for i in random.sample(range(cups), random.randint(1, 2) if balls else 0)
    )
    placed = frozenset(i for i in range(len(scene.objects)) if random.random() < 0.95)
    return replace(scene, contacts=contacts, placed=placed)


def jittered(scene: Scene, noise: float, random: Random) -> Scene:
    """Every edge moved by up to ``noise`` of the box's size; half of the time as far as possible."""
    objects = []
    for obj in scene.objects:
        x1, y1, x2, y2 = obj.box_xyxy
        width, height = noise * (x2 - x1) - 1 / 128, noise * (y2 - y1) - 1 / 128
        left, top, right, bottom = (
            min(max(edge + _move(random) * most, 0.0), float(limit))
            for edge, most, limit in (
                (x1, width, scene.width),
                (y1, height, scene.height),
                (x2, width, scene.width),
                (y2, height, scene.height),
            )
        )
        objects.append(
            SceneObject(box_xyxy=(left, top, right, bottom), category=obj.category, attributes=obj.attributes)
        )
    return replace(scene, objects=tuple(objects))


def _move(random: Random) -> float:
    return random.choice((-1.0, 1.0, random.uniform(-1, 1), random.uniform(-1, 1)))
