"""Ground queries in an image: encode the image once, then predict for any number of queries.

grounder = Grounder.from_pretrained("runs/refcoco/best")
grounder.set_image("photo.jpg")
prediction = grounder.predict("second cup from the left")
print(prediction.box_xyxy, prediction.score)
prediction.save("answer.png")
grounder.predict_images("photos", ["dog", "left dog"])         # both queries about every image of a folder
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from shards.images import ImageError, convert_to_upright_rgb, decode_rgb_image
from shards.tiles import PREDICTED, draw_boxes
from trainer.confidence import UNCALIBRATED, Calibration
from trainer.data.processor import Placement, Processor, center_on_canvas
from trainer.errors import TrainerError
from trainer.evaluation.evaluator import map_boxes_to_image
from trainer.evaluation.generalized import MIN_PRESENCE
from trainer.files import find_checkpoint, list_images
from trainer.model.inputs import QueryInputs
from trainer.model.network import GroundingNetwork, GroundingOutput, ImageFeatures

Feature = npt.NDArray[Any]
"""Feature of a prior (prior_dim,), of any float type."""

ImageInput = Image.Image | npt.NDArray[np.uint8] | Path | str
"""Image: of PIL, an array (height, width, 3) or (height, width), or a file."""

Precision = Literal["no", "bf16", "fp16"]
"""Precision of the network; ``no`` is float32."""

PriorInput = Feature | Callable[[str], Feature]
"""Prior of a query, or a function from the query to its prior."""


class ScoredBox(NamedTuple):
    """One of the boxes of a prediction."""

    box_xyxy: tuple[float, float, float, float]
    """Box in pixels of the image, inside it."""

    score: float
    """Probability, 0..1."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Predicted boxes of a query: the most probable one, and all probable ones."""

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

    boxes: tuple[ScoredBox, ...]
    """Boxes of the targets, the most probable first; none if the object is probably absent. The score of a box is its
    presence, or ``score`` if the network cannot tell that there is no target. One target token has at most one box."""

    unseen_words: tuple[str, ...] = ()
    """Words of the query that no training query of the network had; none if its training did not record words."""

    image: Image.Image = field(repr=False, compare=False)
    """Image in RGB."""

    @property
    def is_probably_absent(self) -> bool:
        """Return whether the image probably does not contain the object."""
        return self.presence is not None and self.presence < MIN_PRESENCE

    def describe_confidence(self) -> str:
        """Return the score as a percentage, or ``probably not in this image``."""
        return "probably not in this image" if self.is_probably_absent else f"{self.score:.0%}"

    def describe_unseen_words(self) -> str:
        """Return a sentence on ``unseen_words``; empty without any."""
        if not self.unseen_words:
            return ""
        words = ", ".join(f'"{word}"' for word in self.unseen_words)
        return f"The training data of this network never had {words}; do not rely on the box."

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, without the image."""
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "image"}
        return {**values, "boxes": [one._asdict() for one in self.boxes]}

    def plot(self) -> Image.Image:
        """Return the image with the box, the query and the confidence."""
        shown, width_px = self.image.copy(), max(2, max(self.image.size) // 160)
        label = f"{self.query}: {self.describe_confidence()}"
        others = [(one.box_xyxy, PREDICTED, f"{one.score:.0%}") for one in self.boxes[1:]]
        draw_boxes(shown, [(self.box_xyxy, PREDICTED, label), *others], width_px=width_px)
        return shown

    def save(self, path: Path | str) -> None:
        """Save ``plot`` to an image file."""
        self.plot().save(path)


@dataclass(frozen=True, kw_only=True)
class EncodedImages:
    """Images and their features."""

    images: list[Image.Image]
    """Images in RGB."""

    features: ImageFeatures
    """Features of the images, in their order."""

    placements: list[Placement]
    """Places of the images on the network's canvas."""


class Grounder:
    """Predictor with a trained network: ``set_image`` once, ``predict`` many times.

    Args:
        network: network, on its device.
        processor: its processor.
        calibration: calibration of its confidences.
        mixed_precision: ``bf16`` or ``fp16`` compute in 16 bits where that is safe, faster on GPUs.
    """

    def __init__(
        self,
        network: GroundingNetwork,
        processor: Processor,
        calibration: Calibration = UNCALIBRATED,
        mixed_precision: Precision = "no",
    ) -> None:
        self.network, self.processor, self.calibration = network.eval(), processor, calibration
        self.device = next(network.parameters()).device
        self._dtype = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}[mixed_precision]
        self._encoded: EncodedImages | None = None

    @staticmethod
    def from_pretrained(
        folder: Path | str,
        device: str = "auto",
        mixed_precision: Precision = "no",
        revision: str | None = None,
    ) -> Grounder:
        """Load a folder that training has saved, such as ``runs/refcoco/best``, the shipped network, or one of the hub.

        Args:
            folder: checkpoint; ``miniature``, the network of the miniature world; or a hub id, ``org/name``.
            device: device of torch, or ``auto``: the GPU, or the CPU without one.
            mixed_precision: see ``Grounder``.
            revision: branch, tag or commit of a hub id; default its main branch.

        Raises:
            TrainerError: the folder is missing, damaged or of another kind, the hub has no such network or cannot be
                reached, or there is no such device.
        """
        path = find_checkpoint(folder if revision is None else f"{folder}@{revision}")
        network = GroundingNetwork.from_pretrained(path)
        try:
            network = network.to(find_device(device))
        except (RuntimeError, AssertionError) as error:
            raise TrainerError(f"device {device!r} cannot be used ({error}); try cpu or auto") from error
        return Grounder(network, Processor.from_pretrained(path), Calibration.from_pretrained(path), mixed_precision)

    @property
    def encoded(self) -> EncodedImages:
        """Image of the last ``set_image``.

        Raises:
            TrainerError: there was none.
        """
        if self._encoded is None:
            raise TrainerError("no image is set; call set_image before predict")
        return self._encoded

    def set_image(self, image: ImageInput) -> None:
        """Encode an image. The same image again costs nothing.

        Raises:
            TrainerError: the file is missing, too large or not an image, or an array has another shape or type.
        """
        rgb = load_image(image)
        if self._encoded is None or self._encoded.images != [rgb]:
            self._encoded = self._encode([rgb])

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

    def predict_images(
        self, images: Path | str | Sequence[ImageInput], queries: Sequence[str], batch_images: int = 16
    ) -> Iterator[list[Prediction]]:
        """Yield the predictions of all queries about each image, without priors.

        Args:
            images: images, or a folder of images, taken by name.
            queries: one or more queries.
            batch_images: number of images that are encoded together.

        Raises:
            TrainerError: an image cannot be read, the folder has none, or a query is empty.
        """
        found = list_images(Path(images)) if isinstance(images, str | Path) else images
        for start in range(0, len(found), batch_images):
            encoded = self._encode([load_image(image) for image in found[start : start + batch_images]])
            count = len(encoded.images)
            output = self._compute_output(encoded, list(queries) * count, None, len(queries))
            predictions = self._build_predictions(encoded, list(queries) * count, output, len(queries))
            yield from (predictions[i * len(queries) : (i + 1) * len(queries)] for i in range(count))

    def compute_output(
        self, queries: Sequence[str], priors: Sequence[PriorInput | None] | None = None
    ) -> GroundingOutput:
        """Return the network's output for queries about the image of ``set_image``; see ``predict_all``."""
        return self._compute_output(self.encoded, queries, priors, len(queries))

    def build_predictions(self, queries: Sequence[str], output: GroundingOutput) -> list[Prediction]:
        """Map the network's output for queries about the image of ``set_image`` back to that image."""
        return self._build_predictions(self.encoded, queries, output, len(queries))

    @torch.no_grad()
    def _encode(self, images: list[Image.Image]) -> EncodedImages:
        placed = [center_on_canvas(image, self.network.config.image_size_px) for image in images]
        canvas = torch.stack([one[0] for one in placed]).to(self.device)
        padding = torch.stack([one[1] for one in placed]).to(self.device)
        with self._autocast():
            features = self.network.encode_images(self.processor.normalize(canvas, padding), padding)
        return EncodedImages(images=images, features=features, placements=[one[2] for one in placed])

    @torch.no_grad()
    def _compute_output(
        self,
        encoded: EncodedImages,
        queries: Sequence[str],
        priors: Sequence[PriorInput | None] | None,
        num_queries: int,
    ) -> GroundingOutput:
        """Return the output for queries, of which each image has ``num_queries``."""
        if not queries or not all(query.strip() for query in queries):
            raise TrainerError(f"queries must not be empty, got {list(queries)!r}")
        token_ids, token_mask = self.processor.tokenize(queries)
        prior, prior_mask = self._stack_priors(queries, priors)
        query_image = torch.arange(len(encoded.images)).repeat_interleave(num_queries)
        inputs = QueryInputs(token_ids, token_mask, query_image, prior, prior_mask, self.processor.find_places(queries))
        with self._autocast():
            return self.network.predict(encoded.features, inputs.to(self.device))

    def _build_predictions(
        self, encoded: EncodedImages, queries: Sequence[str], output: GroundingOutput, num_queries: int
    ) -> list[Prediction]:
        boxes = output.boxes.cpu().double()  # (stages, queries, 4)
        scores, presences = self.calibration.compute_confidence(output)
        several = boxes[-1][:, None] if output.tokens is None else output.tokens.boxes[-1].cpu().double()
        token_presences = self.calibration.compute_token_presences(output)
        predictions = []
        for i, query in enumerate(queries):
            image = encoded.images[i // num_queries]
            rows = map_boxes_to_image(boxes[:, i], image.size, self.network.config.image_size_px).tolist()
            stages = tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in rows)
            listed: tuple[ScoredBox, ...] = (ScoredBox(stages[-1], float(scores[i])),)
            if token_presences is not None:
                candidates = map_boxes_to_image(several[i], image.size, self.network.config.image_size_px)
                listed = _list_probable_boxes(candidates, token_presences[i])
            predictions.append(
                Prediction(
                    query=query,
                    box_xyxy=stages[-1],
                    stages_xyxy=stages,
                    score=float(scores[i]),
                    presence=None if presences is None else float(presences[i]),
                    boxes=listed,
                    unseen_words=self.processor.find_unseen_words(query),
                    image=image,
                )
            )
        return predictions

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self._dtype, enabled=self._dtype is not None)

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


def _list_probable_boxes(boxes: Tensor, presences: Tensor) -> tuple[ScoredBox, ...]:
    """Return the probable ones of boxes (tokens, 4), the most probable first."""
    order = presences.argsort(descending=True).tolist()
    rows, scores = boxes.tolist(), presences.tolist()
    probable = [i for i in order if scores[i] >= MIN_PRESENCE]
    return tuple(ScoredBox((rows[i][0], rows[i][1], rows[i][2], rows[i][3]), scores[i]) for i in probable)


def find_device(device: str) -> torch.device:
    """Return a device by name; ``auto`` is the GPU, or the CPU without one."""
    if device != "auto":
        return torch.device(device)
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def load_image(image: ImageInput) -> Image.Image:
    """Return an image as RGB.

    Raises:
        TrainerError: the file is missing, too large or not an image, or an array has another shape or type.
    """
    if isinstance(image, Image.Image):
        try:
            return convert_to_upright_rgb(image)
        except ImageError as error:
            raise TrainerError(str(error)) from error
    if isinstance(image, str | Path):
        return open_image(Path(image))
    if not isinstance(image, np.ndarray):
        raise TrainerError(f"an image is a PIL image, an array or a path, got {type(image).__name__}")
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise TrainerError(
            "an array must be uint8 of (height, width, 3) in RGB, or (height, width), "
            f"got {image.dtype} of {image.shape}"
        )
    return Image.fromarray(image).convert("RGB")


def open_image(path: Path) -> Image.Image:
    """Read the image in a file as ``make ingest`` does: upright by its EXIF orientation, transparent parts white.

    Raises:
        TrainerError: the file is missing, too large or not an image.
    """
    if not path.exists():
        raise TrainerError(f"{path} does not exist; pass an image")
    try:
        return decode_rgb_image(path.read_bytes(), path)
    except ImageError as error:
        raise TrainerError(str(error)) from error
    except OSError as error:
        raise TrainerError(f"{path} cannot be read ({error.strerror})") from error
