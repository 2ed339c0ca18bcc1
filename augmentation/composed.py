"""What every composer hands to the detector: a picture of a scene, and what was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from augmentation.vocabulary import SceneSpec

Picture = npt.NDArray[np.uint8]
"""(height, width, 3), RGB."""


@dataclass(frozen=True, kw_only=True)
class Composed:
    """A picture that was made of a scene."""

    key: str
    seed: int
    """Of the item; the only randomness that later stages use."""

    spec: SceneSpec
    composer: str
    """Becomes the source of the queries: ``prompted``."""

    picture: Picture = field(repr=False, compare=False)
