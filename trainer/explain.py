"""What the network looked at: the verification score, and each stage's attention and box, in pixels of the image.

explanation = explain(grounder, "photo.jpg", "second cup from the left")
explanation.verification            # (grid, grid), how much the query speaks of each place
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from trainer.data.processor import Placement, center_on_canvas
from trainer.model.decoder import DecoderStage
from trainer.model.network import GroundingOutput
from trainer.predict import Grounder, Prediction, PriorInput, open_image

Map = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One phrase in one image. Maps cover the canvas, on which ``placement`` says where the image lies."""

    prediction: Prediction
    verification: Map
    """(grid, grid), 0 where padded; the score of the paper's discriminative features (VLTVG, equation 2)."""

    attention: Map
    """(stages, grid, grid): where the target token looks in each stage, mean over heads; sums to 1."""

    placement: Placement
    canvas_px: int

    def project_to_image(self, values: Map, size: tuple[int, int], output_size: tuple[int, int]) -> Map:
        """A map over a image, bilinear.

        Args:
            values: (grid, grid) over the canvas.
            size: width and height of the image that was asked about.
            shown: width and height of the result, in which the image may be shown smaller.

        Returns:
            (height, width) of ``output_size``.
        """
        canvas = Image.fromarray(values).resize((self.canvas_px, self.canvas_px), Image.Resampling.BILINEAR)
        place = self.placement
        right, bottom = place.left_px + size[0] * place.scale_x, place.top_px + size[1] * place.scale_y
        part = canvas.resize(output_size, Image.Resampling.BILINEAR, box=(place.left_px, place.top_px, right, bottom))
        return np.asarray(part, dtype=np.float32)


@torch.no_grad()
def explain(
    grounder: Grounder, image: Image.Image | Path | str, query: str, prior: PriorInput | None = None
) -> Explanation:
    """Ground a phrase as ``Grounder.predict`` does, and keep what the network looked at.

    Raises:
        TrainerError: as ``Grounder.predict_all``.
    """
    rgb_image = (image if isinstance(image, Image.Image) else open_image(Path(image))).convert("RGB")
    network = grounder.network
    canvas_px, grid = network.config.image_size_px, network.config.grid
    with _record_activations(grounder) as recorded:
        prediction = grounder.predict(rgb_image, query, prior)
    grounding: GroundingOutput = recorded["grounding"]
    score = grounding.scores[0].float().masked_fill(grounding.padding[0], 0.0)
    return Explanation(
        prediction=prediction,
        verification=score.view(grid, grid).cpu().numpy(),
        attention=torch.stack(recorded["attention"])[:, 0].view(-1, grid, grid).float().cpu().numpy(),
        placement=center_on_canvas(rgb_image, canvas_px)[2],
        canvas_px=canvas_px,
    )


@contextmanager
def _record_activations(grounder: Grounder) -> Iterator[dict[str, Any]]:
    """What the network says, and the weights with which each stage looks at the image."""
    recorded: dict[str, Any] = {"attention": []}

    def record_output(_: Any, __: Any, output: GroundingOutput) -> None:
        recorded["grounding"] = output

    def record_attention(attention: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
        query, key, _, padding = inputs
        recorded["attention"].append(attention.compute_weights(query, key, padding))

    stages: list[DecoderStage] = list(grounder.network.decoder.layers)  # type: ignore[arg-type]
    hooks = [stage.img_attn.register_forward_pre_hook(record_attention) for stage in stages]
    hooks.append(grounder.network.register_forward_hook(record_output))
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()
