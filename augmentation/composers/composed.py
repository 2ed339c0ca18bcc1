"""What every composer hands to the detector: a image of a scene, and what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from augmentation.planning.vocabulary import SceneSpec
from shards.schema import Box

RgbImage = npt.NDArray[np.uint8]
"""(height, width, 3), RGB."""


@dataclass(frozen=True, kw_only=True)
class RequestedObject:
    """A object that a composer put, or asked a model to put, at a place."""

    box_xyxy: Box
    """In pixels; of the visible part where the composer knows it (``pasted``)."""

    category: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    """As far as the composer knows them, by kind."""


@dataclass(frozen=True, kw_only=True)
class ComposedScene:
    """A image that was made of a scene."""

    key: str
    seed: int
    """Of the item; the only randomness that later stages use."""

    spec: SceneSpec
    composer: str
    """Becomes the source of the queries: ``prompted``, ``layout`` or ``pasted``."""

    image: RgbImage = field(repr=False, compare=False)
    requested: tuple[RequestedObject, ...] = ()
    """What was put where, in drawing order; empty for ``prompted``, which knows no places."""
