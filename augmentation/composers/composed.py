"""The image of a scene and its requested objects."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from augmentation.planning.scene_spec import SceneSpec
from augmentation.relations.scene import Contact, SceneObject

RgbImage = npt.NDArray[np.uint8]
"""Image, (height, width, 3), RGB."""


@dataclass(frozen=True, kw_only=True)
class ComposedScene:
    """A scene with its image, before detection."""

    key: str
    seed: int
    """Seed of the plan's item; later stages use no other randomness."""

    spec: SceneSpec
    composer: str
    """Composer's name: ``prompted``, ``layout`` or ``pasted``. It becomes the source of the queries."""

    image: RgbImage = field(repr=False, compare=False)
    requested: tuple[SceneObject, ...] = ()
    """Requested objects, far to near; empty for ``prompted``, which places none. The box of a ``pasted`` object
    encloses its visible part. Their attributes are those that the composer knows."""

    contacts: tuple[Contact, ...] | None = None
    """Contacts of the requested objects; None if the composer does not know them."""
