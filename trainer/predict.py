"""Ground queries in an image: encode the image once, then predict for any number of queries.

grounder = Grounder.from_pretrained("runs/refcoco/best")
grounder.set_image("photo.jpg")
print(grounder.predict("second cup from the left").box_xyxy)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from shards.images import ImageError, decode_rgb_image
from trainer.confidence import UNCALIBRATED, Calibration
from trainer.data.processor import Placement, Processor, center_on_canvas
from trainer.errors import TrainerError
from trainer.evaluation.evaluator import map_boxes_to_image
from trainer.model.inputs import QueryInputs
from trainer.model.network import GroundingNetwork, GroundingOutput, ImageFeatures

Feature = npt.NDArray[Any]
"""Feature of a prior (prior_dim,), of any float type."""

PriorInput = Feature | Callable[[str], Feature]
"""Prior of a query, or a function from the query to its prior."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Predicted box of a query."""

    query: str
    """Query as it was given."""

    box_xyxy: tuple[float, float, float, float]
    """Box in pixels of the image, inside it; a file's image is upright by its EXIF orientation."""

    stages_xyxy: tuple[tuple[float, float, float, float], ...]
    """Boxes of all decoder stages; the last one is ``box_xyxy``."""

    score: float
    """Probability that the box is right, 0..1; see ``trainer.confidence``."""

    presence: float | None
    """Probability that the object is in the image, 0..1; None if training has not calibrated the network."""

    @property
    def is_probably_absent(self) -> bool:
        """Return whether the image probably does not contain the object."""
        return self.presence is not None and self.presence < 0.5

    def describe_confidence(self) -> str:
        """Return the score as a percentage, or ``probably not in this image``."""
        return "probably not in this image" if self.is_probably_absent else f"{self.score:.0%}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class EncodedImage:
    """An image and its features."""

    image: Image.Image
    """Image in RGB."""

    features: ImageFeatures
    """Features of the image, a batch of one."""

    placement: Placement
    """Place of the image on the network's canvas."""


class Grounder:
    """Predictor with a trained network: ``set_image`` once, ``predict`` many times."""

    def __init__(
        self, network: GroundingNetwork, processor: Processor, calibration: Calibration = UNCALIBRATED
    ) -> None:
        self.network, self.processor, self.calibration = network.eval(), processor, calibration
        self._encoded: EncodedImage | None = None

    @staticmethod
    def from_pretrained(folder: Path | str, device: str = "cpu") -> Grounder:
        """Load a folder that training has saved, such as ``runs/refcoco/best``.

        Raises:
            TrainerError: the folder is missing, damaged or of another kind.
        """
        path = Path(folder)
        network = GroundingNetwork.from_pretrained(path).to(device)
        return Grounder(network, Processor.from_pretrained(path), Calibration.from_pretrained(path))

    @property
    def encoded(self) -> EncodedImage:
        """Image of the last ``set_image``.

        Raises:
            TrainerError: there was none.
        """
        if self._encoded is None:
            raise TrainerError("no image is set; call set_image before predict")
        return self._encoded

    @torch.no_grad()
    def set_image(self, image: Image.Image | Path | str) -> None:
        """Encode an image, or the image in a file. The same image again costs nothing.

        Raises:
            TrainerError: the file is missing, too large or not an image.
        """
        rgb = (image if isinstance(image, Image.Image) else open_image(Path(image))).convert("RGB")
        if self._encoded is not None and self._encoded.image == rgb:
            return
        device = next(self.network.parameters()).device
        canvas, padding, placement = center_on_canvas(rgb, self.network.config.image_size_px)
        images, padding = canvas[None].to(device), padding[None].to(device)
        features = self.network.encode_images(self.processor.normalize(images, padding), padding)
        self._encoded = EncodedImage(image=rgb, features=features, placement=placement)

    def predict(self, query: str, prior: PriorInput | None = None) -> Prediction:
        """Predict the box of one query in the image of ``set_image``; see ``predict_all``."""
        return self.predict_all([query], None if prior is None else [prior])[0]

    def predict_all(
        self, queries: Sequence[str], priors: Sequence[PriorInput | None] | None = None
    ) -> list[Prediction]:
        """Predict the boxes of queries in the image of ``set_image``.

        Args:
            queries: one or more queries.
            priors: one prior for each query, None for a query without a prior; None for no priors at all.

        Raises:
            TrainerError: no image is set, a query is empty, or the priors do not fit the network.
        """
        return self.build_predictions(queries, self.compute_output(queries, priors))

    @torch.no_grad()
    def compute_output(
        self, queries: Sequence[str], priors: Sequence[PriorInput | None] | None = None
    ) -> GroundingOutput:
        """Return the network's output for queries about the image of ``set_image``; see ``predict_all``."""
        features = self.encoded.features
        if not queries or not all(query.strip() for query in queries):
            raise TrainerError(f"queries must not be empty, got {list(queries)!r}")
        token_ids, token_mask = self.processor.tokenize(queries)
        prior, prior_mask = self._stack_priors(queries, priors)
        query_image = torch.zeros(len(queries), dtype=torch.long)
        inputs = QueryInputs(token_ids, token_mask, query_image, prior, prior_mask)
        return self.network.predict(features, inputs.to(features.tokens.device))

    def build_predictions(self, queries: Sequence[str], output: GroundingOutput) -> list[Prediction]:
        """Map the network's output for queries about the image of ``set_image`` back to that image."""
        boxes = output.boxes.cpu().double()  # (stages, queries, 4)
        size = self.encoded.image.size
        on_image = map_boxes_to_image(boxes.flatten(0, 1), size, self.network.config.image_size_px).view(*boxes.shape)
        scores, presences = self.calibration.compute_confidence(output)
        stages = [[(x1, y1, x2, y2) for x1, y1, x2, y2 in rows] for rows in on_image.transpose(0, 1).tolist()]
        return [
            Prediction(query=query, box_xyxy=rows[-1], stages_xyxy=tuple(rows), score=score, presence=presence)
            for query, rows, score, presence in zip(
                queries,
                stages,
                scores.tolist(),
                [None] * len(queries) if presences is None else presences.tolist(),
                strict=True,
            )
        ]

    def _stack_priors(
        self, queries: Sequence[str], priors: Sequence[PriorInput | None] | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return priors (queries, prior_dim) float32 and their mask (queries,) bool; None for no priors at all."""
        config = self.network.config
        if priors is None or not config.use_prior:
            return None, None
        if len(priors) != len(queries):
            raise TrainerError(f"{len(queries)} queries need as many priors, got {len(priors)}")
        made = [prior(query) if callable(prior) else prior for query, prior in zip(queries, priors, strict=True)]
        for query, feature in zip(queries, made, strict=True):
            if feature is not None and np.shape(feature) != (config.prior_dim,):
                raise TrainerError(
                    f"the prior of {query!r} has shape {np.shape(feature)}, the network takes ({config.prior_dim},); "
                    "use the image encoder of its training"
                )
        rows = [np.zeros(config.prior_dim) if feature is None else feature for feature in made]
        mask = torch.tensor([feature is not None for feature in made])
        return torch.from_numpy(np.stack(rows).astype(np.float32)), mask


def open_image(path: Path) -> Image.Image:
    """Read the image in a file as ``make ingest`` does: upright by its EXIF orientation, transparent parts white.

    Raises:
        TrainerError: the file is missing, too large or not an image.
    """
    try:
        return decode_rgb_image(path.read_bytes(), path)
    except (OSError, ImageError) as error:
        raise TrainerError(f"{path} cannot be read as an image ({error})") from error
