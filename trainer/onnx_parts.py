"""Parts of a network as modules that can be exported to ONNX."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from trainer.confidence import Calibration
from trainer.data.processor import Processor
from trainer.errors import TrainerError
from trainer.model.inputs import QueryInputs
from trainer.model.network import GroundingNetwork, ImageFeatures


class ImagePart(nn.Module):
    """Image part: pixels to features."""

    def __init__(self, network: GroundingNetwork, processor: Processor) -> None:
        super().__init__()
        self.network, self.processor = network, processor

    def forward(self, image: Tensor, padding: Tensor) -> tuple[Tensor, ...]:
        """Return the fields of ``ImageFeatures`` that the network has."""
        found = self.network.encode_images(self.processor.normalize(image, padding), padding)
        fields = (found.tokens, found.positions, found.padding, found.appearance)
        return tuple(tensor for tensor in fields if tensor is not None)


class QueryPart(nn.Module):
    """Query part: features and queries to boxes and scores.

    Args:
        network: network.
        calibration: calibration of the presences of several target tokens.
        names: names of the inputs, in order.
    """

    def __init__(self, network: GroundingNetwork, calibration: Calibration, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.calibration, self.names = network, calibration, list(names)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the last stage's boxes (queries, 4) and the verification scores (queries, features).

        Several target tokens add their boxes (queries, tokens, 4) and presences (queries, tokens) in 0..1.
        """
        given = dict(zip(self.names, tensors, strict=True))
        image = ImageFeatures(
            tokens=given["tokens"],
            positions=given["positions"],
            padding=given["token_padding"],
            appearance=given.get("appearance"),
        )
        token_ids = given["token_ids"]
        queries = QueryInputs(
            token_ids,
            given["token_mask"],
            torch.zeros_like(token_ids[:, 0]),  # all about one image
            given.get("prior"),
            given.get("prior_mask"),
            given.get("has_place"),
        )
        output = self.network.predict(image, queries)
        if output.tokens is None:
            return output.boxes[-1], output.scores
        presences = self.calibration.compute_token_presences(output)
        assert presences is not None
        return output.boxes[-1], output.scores, output.tokens.boxes[-1], presences


def export_part(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    path: Path,
    names: list[str],
    outputs: list[str],
    shapes: tuple[tuple[dict[int, torch.export.Dim] | None, ...], ...] | None = None,
) -> None:
    """Export a module to a file.

    Raises:
        TrainerError: the module cannot be exported.
    """
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                inputs,
                str(path),
                input_names=names,
                output_names=outputs,
                dynamic_shapes=shapes,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error).strip().splitlines()[0]
        raise TrainerError(f"{path.name} cannot be exported ({reason}); its text encoder may be the cause") from error
