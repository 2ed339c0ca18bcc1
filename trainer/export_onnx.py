"""Export a network to ONNX, in two parts: encode an image once, then predict for any number of queries.

    python -m trainer.export_onnx --checkpoint runs/refcoco/best --folder exported      # needs the extra onnx

The folder then holds ``image.onnx``, ``query.onnx``, and the settings and tokenizer of the processor.

- ``image.onnx``: from image and padding to tokens, positions, token_padding, and appearance with exemplars;
- ``query.onnx``: from these, token_ids and token_mask to boxes and scores; further inputs are prior and prior_mask with
  priors, and has_place with exemplars. Further outputs are token_boxes and token_presences with several target tokens.

``image`` is (1, 3, size, size) uint8: the image's long side fills the canvas, centered; ``padding`` is True beside it.
``boxes`` (queries, 4) are cxcywh as fractions of the canvas, ``scores`` the verification scores. ``token_boxes``
(queries, tokens, 4) are the boxes of all target tokens, ``token_presences`` the calibrated probabilities that they are
targets; those of 0.5 or more are the scored boxes of ``trainer.predict``, and ``boxes`` is the best one. The fields of
``QueryInputs`` describe the inputs about queries.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from trainer.command_line import parse_options
from trainer.errors import TrainerError, exit_with_error
from trainer.files import check_checkpoint, find_checkpoint


@dataclass(frozen=True, kw_only=True)
class ExportOnnxConfig:
    """Network and folder."""

    checkpoint: Path
    """Folder that training has saved, ``miniature``, or a hub id, ``org/name``."""

    folder: Path
    """Folder to write."""


def export_onnx(config: ExportOnnxConfig) -> None:
    """Write both parts and the processor.

    Raises:
        TrainerError: there is no such network, the extra ``onnx`` is missing, or a text encoder cannot be exported.
    """
    try:
        import onnxscript  # noqa: F401  # by which torch exports
    except ImportError as error:
        raise TrainerError(f'the export needs the extra onnx: pip install "resvg-grounding[onnx]" ({error})') from error
    logging.getLogger("onnxscript").setLevel(logging.ERROR)  # it reports each constant that it does not fold
    checkpoint = find_checkpoint(config.checkpoint)
    check_checkpoint(checkpoint)
    import torch

    from trainer.confidence import Calibration
    from trainer.data.processor import Processor
    from trainer.model.network import GroundingNetwork
    from trainer.onnx_parts import ImagePart, QueryPart, export_part

    network, processor = GroundingNetwork.from_pretrained(checkpoint), Processor.from_pretrained(checkpoint)
    size, settings = network.config.image_size_px, network.config
    config.folder.mkdir(parents=True, exist_ok=True)
    processor.save_pretrained(config.folder)

    image_part = ImagePart(network, processor).eval()
    canvas = (torch.zeros(1, 3, size, size, dtype=torch.uint8), torch.zeros(1, size, size, dtype=torch.bool))
    with torch.no_grad():
        features = image_part(*canvas)
    image_outputs = ["tokens", "positions", "token_padding", "appearance"][: len(features)]
    export_part(image_part, canvas, config.folder / "image.onnx", ["image", "padding"], image_outputs)

    queries, length = torch.export.Dim("queries"), torch.export.Dim("length", max=processor.config.max_tokens)
    token_ids, token_mask = processor.tokenize(["left cup", "second cup from the left", "cup"])  # examples of any
    count = len(token_ids)
    inputs = dict(zip(image_outputs, features, strict=True))
    shapes: list[dict[int, torch.export.Dim] | None] = [None] * len(inputs)
    inputs |= {"token_ids": token_ids, "token_mask": token_mask}
    shapes += [{0: queries, 1: length}] * 2
    if settings.use_prior:
        mask = torch.ones(count, dtype=torch.bool)
        inputs |= {"prior": torch.ones(count, settings.prior_dim) / settings.prior_dim**0.5, "prior_mask": mask}
        shapes += [{0: queries}] * 2
    if settings.exemplar_scoring is not None:
        inputs["has_place"] = torch.ones(count, dtype=torch.bool)
        shapes.append({0: queries})
    query_part = QueryPart(network, Calibration.from_pretrained(checkpoint), list(inputs)).eval()
    query_outputs = ["boxes", "scores"]
    if settings.num_target_tokens > 1:
        query_outputs += ["token_boxes", "token_presences"]
    path = config.folder / "query.onnx"
    export_part(query_part, tuple(inputs.values()), path, list(inputs), query_outputs, (tuple(shapes),))


def main() -> None:
    """Run the command line."""
    try:
        config = parse_options(ExportOnnxConfig, sys.argv[1:], __doc__)
        export_onnx(config)
    except TrainerError as error:
        exit_with_error(error)
    print(f"image.onnx and query.onnx were saved to {config.folder}")


if __name__ == "__main__":
    main()
