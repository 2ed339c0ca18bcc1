"""Ground a phrase in a image.

grounder = Grounder.from_pretrained("runs/refcoco/best")
print(grounder.predict("photo.jpg", "second cup from the left").box_xyxy)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from shards.images import MAX_PIXELS
from trainer.data.processor import Processor, center_on_canvas
from trainer.errors import TrainerError
from trainer.evaluation.evaluator import map_boxes_to_image
from trainer.model.network import GroundingNetwork, GroundingOutput

Feature = npt.NDArray[Any]
"""(prior_dim,) of any float type."""

PriorInput = Feature | Callable[[str], Feature]
"""A phrase's prior, or what makes one from the phrase."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Where a phrase is."""

    query: str
    box_xyxy: tuple[float, float, float, float]
    """In pixels of the image, upright as its EXIF orientation says."""

    stages_xyxy: tuple[tuple[float, float, float, float], ...]
    """The boxes of all decoder stages; the last one is ``box_xyxy``."""


class Grounder:
    """A trained network that takes images and phrases."""

    def __init__(self, network: GroundingNetwork, processor: Processor) -> None:
        self.network, self.processor = network.eval(), processor

    @staticmethod
    def from_pretrained(folder: Path | str, device: str = "cpu") -> Grounder:
        """Load a folder that training has saved; it is all that is needed.

        Raises:
            TrainerError: the folder is missing, damaged or of another kind.
        """
        path = Path(folder)
        return Grounder(GroundingNetwork.from_pretrained(path).to(device), Processor.from_pretrained(path))

    def predict(self, image: Image.Image | Path | str, query: str, prior: PriorInput | None = None) -> Prediction:
        """Ground one phrase; see ``predict_all``."""
        return self.predict_all(image, [query], None if prior is None else [prior])[0]

    @torch.no_grad()
    def predict_all(
        self, image: Image.Image | Path | str, queries: Sequence[str], priors: Sequence[PriorInput | None] | None = None
    ) -> list[Prediction]:
        """Ground phrases in one image, which is encoded once.

        Args:
            image: a image or its file.
            queries: one or more phrases.
            priors: one for each phrase, None where it goes without, or None for all.

        Raises:
            TrainerError: a phrase is empty, the image cannot be read, or the priors do not fit.
        """
        if not queries or not all(query.strip() for query in queries):
            raise TrainerError(f"phrases to ground must not be empty, got {list(queries)!r}")
        pil_image = image if isinstance(image, Image.Image) else open_image(Path(image))
        device, canvas_px = next(self.network.parameters()).device, self.network.config.image_size_px
        canvas, padding, _ = center_on_canvas(pil_image.convert("RGB"), canvas_px)
        token_ids, token_mask = self.processor.tokenize(queries)
        grounding: GroundingOutput = self.network(
            self.processor.normalize(canvas[None], padding[None]).to(device),
            padding[None].to(device),
            token_ids.to(device),
            token_mask.to(device),
            torch.zeros(len(queries), dtype=torch.long, device=device),
            *self._prepare_priors(queries, priors, device),
        )
        stages = grounding.boxes.cpu()
        boxes = map_boxes_to_image(stages.double().flatten(0, 1), pil_image.size, canvas_px).view(*stages.shape)
        return [_build_prediction(query, boxes[:, i]) for i, query in enumerate(queries)]

    def _prepare_priors(
        self, queries: Sequence[str], priors: Sequence[PriorInput | None] | None, device: torch.device
    ) -> tuple[Tensor | None, Tensor | None]:
        """(queries, prior_dim) float32, and (queries,) bool, True where there is one; None for none at all."""
        config = self.network.config
        if priors is None or not config.use_prior:
            return None, None
        if len(priors) != len(queries):
            raise TrainerError(f"{len(queries)} phrases need as many priors, got {len(priors)}")
        made = [prior(query) if callable(prior) else prior for query, prior in zip(queries, priors, strict=True)]
        for query, feature in zip(queries, made, strict=True):
            if feature is not None and np.shape(feature) != (config.prior_dim,):
                raise TrainerError(
                    f"the prior of {query!r} has shape {np.shape(feature)}, the network takes ({config.prior_dim},); "
                    "use the image encoder that it was trained with"
                )
        rows = [np.zeros(config.prior_dim) if feature is None else feature for feature in made]
        given = torch.tensor([feature is not None for feature in made], device=device)
        return torch.from_numpy(np.stack(rows).astype(np.float32)).to(device), given


def open_image(path: Path) -> Image.Image:
    """The image in a file, upright.

    Raises:
        TrainerError: it is missing or no image.
    """
    try:
        with Image.open(path) as pil_image:
            if pil_image.width * pil_image.height > MAX_PIXELS:
                raise TrainerError(f"{path} has {pil_image.width} x {pil_image.height} pixels; make it smaller")
            return ImageOps.exif_transpose(pil_image).convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise TrainerError(f"{path} cannot be read as a image ({error})") from error


def _build_prediction(query: str, stages_xyxy: Tensor) -> Prediction:
    rows = []
    for stage in stages_xyxy:
        x1, y1, x2, y2 = stage.tolist()
        rows.append((x1, y1, x2, y2))
    return Prediction(query=query, box_xyxy=rows[-1], stages_xyxy=tuple(rows))
