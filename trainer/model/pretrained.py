"""Pretrained weights: text encoders of ``transformers``, and backbones and visual encoders of detectors.

``load_visual`` recognizes, by the names of tensors,
- a folder of a ``transformers`` detector over a ResNet: RT-DETR with a ``ResNetConfig`` backbone, or DETR
  (``facebook/detr-resnet-50``), with its encoder and input projection;
- a ``.pth`` file of facebookresearch/detr, TransVG or VLTVG (``detr-r50-unc.pth``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel

from trainer.config_file import flatten_record
from trainer.errors import TrainerError
from trainer.model.config import NetworkConfig
from trainer.model.network import GroundingNetwork
from trainer.model.published_checkpoints import read_pth
from trainer.model.state_dict import check_shapes, format_names, read_safetensors
from trainer.model.text_encoder import build_text_config
from trainer.model.transformers_backbone import TransformersBackbone, build_vision_config, measure_stride_px

VISUAL_PARTS = ("backbone.", "input_projection.", "encoder.")
"""Parts of the network that a detector may have."""

TRANSFORMERS_RESNET = (
    (r"embedder\.embedder\.convolution\.", "conv1."),
    (r"embedder\.embedder\.normalization\.", "bn1."),
    (r"encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.convolution\.", r"stages.\1.\2.downsample.0."),
    (r"encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.normalization\.", r"stages.\1.\2.downsample.1."),
)
TRANSFORMERS_LAYER = re.compile(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.(convolution|normalization)\.")
TRANSFORMERS_ENCODER = {
    "self_attn.out_proj": "self_attn.out_proj",
    "self_attn.o_proj": "self_attn.out_proj",
    "fc1": "linear1",
    "fc2": "linear2",
    "mlp.fc1": "linear1",
    "mlp.fc2": "linear2",
    "self_attn_layer_norm": "norm1",
    "final_layer_norm": "norm2",
}


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """Report of the weights that a checkpoint gave, by the network's names."""

    parts: tuple[str, ...]
    """Parts in ``VISUAL_PARTS`` that the checkpoint has, each complete."""

    num_tensors: int
    """Number of loaded tensors."""

    unexpected: tuple[str, ...]
    """Names of the checkpoint's other tensors, such as a detector's decoder."""

    missing: tuple[str, ...] = ()
    """Names of the network's tensors that a started network lacks; they start from random weights."""


def choose_text_encoder(config: NetworkConfig, checkpoint: str) -> NetworkConfig:
    """Return the configuration with the text encoder of a hub id or folder.

    Raises:
        TrainerError: there is no text encoder.
    """
    return replace(config, text=_read_model_config(checkpoint, "text encoder"))


def _read_model_config(checkpoint: str, part: str) -> dict[str, Any]:
    """Read the configuration of a model of transformers as JSON values.

    Raises:
        TrainerError: there is none; names the ``part`` of the network that it is for.
    """
    try:
        record: dict[str, Any] = json.loads(AutoConfig.from_pretrained(checkpoint).to_json_string(use_diff=False))
    except (OSError, ValueError) as error:
        raise TrainerError(
            f"no {part} at {checkpoint!r} ({str(error).splitlines()[0]}); give a folder or hub id of one"
        ) from error
    record.pop("_name_or_path", None)  # a path of this machine has no place in a checkpoint
    return record


def choose_backbone(config: NetworkConfig, checkpoint: str) -> NetworkConfig:
    """Return the configuration with the backbone of a hub id or folder, any of transformers' ``AutoBackbone``.

    Raises:
        TrainerError: there is no backbone, or its stride does not divide the side of the canvas.
    """
    vision = _read_model_config(checkpoint, "backbone")
    try:
        return replace(config, vision=vision, vision_stride_px=measure_stride_px(vision))
    except ValueError as error:
        raise TrainerError(f"the backbone {checkpoint} does not fit: {error}") from error


def load_backbone(network: GroundingNetwork, checkpoint: str) -> None:
    """Load the weights of the backbone at a hub id or folder.

    Raises:
        TrainerError: there are no weights.
    """
    assert isinstance(network.backbone, TransformersBackbone)
    try:
        config = build_vision_config(network.config.vision)
        pretrained = type(network.backbone.model).from_pretrained(checkpoint, config=config)
    except (OSError, ValueError) as error:
        raise TrainerError(
            f"no weights of a backbone at {checkpoint!r} ({str(error).splitlines()[0]}); give a folder or hub id that "
            "has them"
        ) from error
    network.backbone.model.load_state_dict(pretrained.state_dict())


def load_text(network: GroundingNetwork, checkpoint: str) -> None:
    """Load the weights of the text encoder at a hub id or folder.

    Raises:
        TrainerError: there are no weights.
    """
    try:
        pretrained = AutoModel.from_pretrained(checkpoint, config=build_text_config(network.config.text))
    except (OSError, ValueError) as error:
        raise TrainerError(
            f"no weights of a text encoder at {checkpoint!r} ({str(error).splitlines()[0]}); "
            "give a folder or hub id that has them, or train it from scratch (text_from_scratch)"
        ) from error
    network.text.model.load_state_dict(pretrained.state_dict())


def load_visual(network: GroundingNetwork, path: Path) -> LoadReport:
    """Load the backbone of a detector, and its visual encoder if it has DETR's.

    Raises:
        TrainerError: there is no checkpoint, or its parts are incomplete or of other sizes.
    """
    state = _read_detector(path)
    renamed = _rename_tensors(state)
    own = network.state_dict()
    parts = tuple(part for part in VISUAL_PARTS if any(name.startswith(part) for name in renamed))
    if "backbone." not in parts:
        raise TrainerError(f"{path} has no ResNet of a known layout; its tensors are {format_names(state)}")
    wanted = {name for name in own if name.startswith(parts)}
    missing, unexpected = wanted - renamed.keys(), renamed.keys() - wanted
    stages = {name for name in unexpected if name.startswith("backbone.stages.")}
    if missing:
        raise TrainerError(
            f"{path} does not fit the network: {len(missing)} tensors are missing ({format_names(missing)}); "
            "choose a backbone of the checkpoint's stages and blocks"
        )
    given = {name: renamed[name] for name in wanted}
    check_shapes(own, given, str(path))
    with torch.no_grad():
        for name, tensor in given.items():
            own[name].copy_(tensor)
    return LoadReport(parts=parts, num_tensors=len(given), unexpected=tuple(sorted(unexpected - stages)))


def load_network(network: GroundingNetwork, folder: Path) -> LoadReport:
    """Load the weights of a trained network; a part that it lacks, such as exemplar scoring, stays as it is.

    Raises:
        TrainerError: the folder is missing or damaged, or its network has other sizes; names them.
    """
    started = GroundingNetwork.from_pretrained(folder)
    _check_sizes(network.config, started.config, folder)
    own, given = network.state_dict(), started.state_dict()
    check_shapes(own, given, str(folder))
    shared = own.keys() & given.keys()
    network.load_state_dict({name: given[name] for name in shared}, strict=False)
    return LoadReport(
        parts=tuple(
            f"{part}." for part, _ in network.named_children() if any(n.startswith(f"{part}.") for n in shared)
        ),
        num_tensors=len(shared),
        unexpected=tuple(sorted(given.keys() - shared)),
        missing=tuple(sorted(own.keys() - shared)),
    )


def _check_sizes(own: NetworkConfig, started: NetworkConfig, folder: Path) -> None:
    """Check that two networks compute alike; parts, dropout and what is frozen may differ."""
    free = {
        "text",
        "vision",
        "vision_stride_px",
        "use_prior",
        "exemplar_scoring",
        "presence",
        "num_target_tokens",
        "dropout",
        "backbone.num_frozen_stages",
    }
    if not (own.use_prior and started.use_prior):
        free |= {"prior_dim", "prior_scale"}
    there, here = (dict(flatten_record(config.to_json())) for config in (started, own))
    differences = [
        f"{name} is {there[name]} there, {here[name]} here"
        for name in here
        if name not in free and name.split(".")[0] not in free and there[name] != here[name]
    ]
    if differences:
        raise TrainerError(
            f"the network in {folder} does not fit: {'; '.join(differences)}; set these options of network to its "
            "values, or start from another network"
        )


def _read_detector(path: Path) -> dict[str, Tensor]:
    """Read the tensors in a file, or in a folder of the Hugging Face layout: one file, or several with an index."""
    if not path.is_dir():
        return read_safetensors(path) if path.suffix == ".safetensors" else read_pth(path)
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (path / name).is_file():
            return _read_detector(path / name)
        index = path / f"{name}.index.json"
        if index.is_file():
            return {key: tensor for part in _list_parts(index) for key, tensor in _read_detector(part).items()}
    raise TrainerError(
        f"{path} holds no detector: there is no model.safetensors, pytorch_model.bin or index of several of them; "
        "give the folder with config.json of a DETR or RT-DETR, or its .pth file"
    )


def _list_parts(index: Path) -> list[Path]:
    """Return the files that an index of the Hugging Face layout names; they lie beside it."""
    try:
        names = {str(name) for name in json.loads(index.read_bytes())["weight_map"].values()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise TrainerError(f"{index} is no index of weights ({error}); download the folder again") from error
    if any(Path(name).name != name for name in names):
        raise TrainerError(f"{index} names files outside its folder; download the folder again")
    return [index.parent / name for name in sorted(names)]


def _rename_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a detector's tensors to the network's names; unknown tensors keep their names."""
    if any(name.startswith("transformer.encoder.") for name in state):
        return {_rename_from_detr(name): tensor for name, tensor in state.items() if "num_batches_tracked" not in name}
    named = {
        _rename_from_transformers(name): tensor for name, tensor in state.items() if "num_batches_tracked" not in name
    }
    return _pack_projections(named)


def _rename_from_detr(name: str) -> str:
    """Rename a tensor of facebookresearch/detr, TransVG or VLTVG."""
    if name.startswith("backbone.0.body."):
        return "backbone." + _rename_from_torchvision(name.removeprefix("backbone.0.body."))
    if name.startswith("transformer.encoder.layers."):
        return name.removeprefix("transformer.")
    return name.replace("input_proj.", "input_projection.") if name.startswith("input_proj.") else name


def _rename_from_torchvision(name: str) -> str:
    return re.sub(r"^layer(\d)\.", lambda match: f"stages.{int(match[1]) - 1}.", name)


def _rename_from_transformers(name: str) -> str:
    """Rename a tensor of a ``transformers`` detector; attention still has three projections."""
    name_match = re.match(r"(?:model\.)?backbone\.(?:conv_encoder\.)?(?:model\.)?(?:_backbone\.)?(.*)", name)
    if name_match:
        return "backbone." + _rename_from_transformers_resnet(name_match[1])
    name = name.removeprefix("model.")
    if name.startswith("input_projection."):
        return name
    layer = re.match(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$", name)
    if layer and (part := TRANSFORMERS_ENCODER.get(layer[2], layer[2])):
        return f"encoder.layers.{layer[1]}.{part}.{layer[3]}"
    return f"detector.{name}"


def _rename_from_transformers_resnet(name: str) -> str:
    for pattern, replacement in TRANSFORMERS_RESNET:
        name, count = re.subn("^" + pattern, replacement, name)
        if count:
            return name
    name_match = TRANSFORMERS_LAYER.match(name)
    if not name_match:
        return _rename_from_torchvision(name)
    stage, block, layer, kind = name_match.groups()
    part = ("conv" if kind == "convolution" else "bn") + str(int(layer) + 1)
    return f"stages.{stage}.{block}.{part}.{name[name_match.end() :]}"


def _pack_projections(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Pack the query, key and value projections of the encoder's attention into one."""
    packed = {name: tensor for name, tensor in state.items() if not re.search(r"self_attn\.[qkv]_proj\.", name)}
    for name, tensor in state.items():
        if match := re.match(r"(encoder\.layers\.\d+\.self_attn)\.q_proj\.(weight|bias)$", name):
            rest = [state[f"{match[1]}.{letter}_proj.{match[2]}"] for letter in "kv"]
            packed[f"{match[1]}.in_proj_{match[2]}"] = torch.cat([tensor, *rest])
    return packed
