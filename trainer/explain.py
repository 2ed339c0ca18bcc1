"""Explain a prediction: the verification score, and the attention and box of each stage, on the image.

grounder.set_image("photo.jpg")
explanation = explain(grounder, "second cup from the left")
explanation.verification            # (grid, grid): match of each image feature with the query
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from trainer.data.processor import Placement
from trainer.model.decoder import DecoderStage
from trainer.predict import Grounder, Prediction, PriorInput

Map = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Explanation of one query in one image; its maps cover the canvas."""

    prediction: Prediction
    """Prediction that is explained."""

    verification: Map
    """Verification score (grid, grid), 0 on padding: VLTVG, equation 2."""

    attention: Map
    """Attention (stages, grid, grid) of the most probable target token in each stage, mean over heads; sums of 1."""

    placement: Placement
    """Place of the image on the canvas."""

    canvas_px: int
    """Side of the canvas in pixels."""

    def project_to_image(self, values: Map, size: tuple[int, int], output_size: tuple[int, int]) -> Map:
        """Interpolate a map over the image, bilinear.

        Args:
            values: (grid, grid) over the canvas.
            size: width and height of the image.
            output_size: width and height of the result, if the image is shown at another size.

        Returns:
            (height, width) of ``output_size``.
        """
        canvas = Image.fromarray(values).resize((self.canvas_px, self.canvas_px), Image.Resampling.BILINEAR)
        place = self.placement
        right, bottom = place.left_px + size[0] * place.scale_x, place.top_px + size[1] * place.scale_y
        part = canvas.resize(output_size, Image.Resampling.BILINEAR, box=(place.left_px, place.top_px, right, bottom))
        return np.asarray(part, dtype=np.float32)


def explain(grounder: Grounder, query: str, prior: PriorInput | None = None) -> Explanation:
    """Ground a query in the grounder's image, and keep the scores and attention behind the prediction.

    Raises:
        TrainerError: see ``Grounder.predict_all``.
    """
    network, encoded = grounder.network, grounder.encoded
    grid = network.config.grid
    with _record_attention(grounder) as attention:
        output = grounder.compute_output([query], None if prior is None else [prior])
    score = output.scores[0].float().masked_fill(output.padding[0], 0.0)  # (grid * grid,)
    token = 0 if output.tokens is None else int(output.tokens.presence[0].argmax())
    return Explanation(
        prediction=grounder.build_predictions([query], output)[0],
        verification=score.view(grid, grid).cpu().numpy(),
        attention=torch.stack(attention)[:, token].view(-1, grid, grid).float().cpu().numpy(),
        placement=encoded.placements[0],
        canvas_px=network.config.image_size_px,
    )


@contextmanager
def _record_attention(grounder: Grounder) -> Iterator[list[Tensor]]:
    """Collect the attention weights (queries * tokens, features) of the target tokens to the image in each stage."""
    attention: list[Tensor] = []

    def record(module: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
        query, key, _, mask = inputs
        attention.append(module.compute_weights(query, key, mask))

    stages: list[DecoderStage] = list(grounder.network.decoder.layers)  # type: ignore[arg-type]
    hooks = [stage.img_attn.register_forward_pre_hook(record) for stage in stages]
    try:
        yield attention
    finally:
        for hook in hooks:
            hook.remove()
