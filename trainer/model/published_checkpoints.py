"""Import and export of checkpoints in the published layout (686 names, ``backbone.0.body.conv1.weight`` ...).

    python -m trainer.model.published_checkpoints import --source resvg.pth --folder grounder \\
        --tokenizer google-bert/bert-base-uncased
    python -m trainer.model.published_checkpoints export --folder grounder --destination resvg.pth
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from shards.sources.errors import SourceError
from shards.sources.isolated import read_tensors
from trainer.command_line import format_text, get_program
from trainer.data.config import ProcessorConfig
from trainer.errors import TrainerError, exit_with_error
from trainer.model.config import NetworkConfig, make_published_config

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.model.network import GroundingNetwork

VERIFICATION_PREFIX = "trans_decoder.decoder.extra_encoder_layers.0."
RENAMING_RULES = (
    (r"backbone\.stages\.0\.", "backbone.0.body.layer1."),
    (r"backbone\.stages\.1\.", "backbone.0.body.layer2."),
    (r"backbone\.stages\.2\.", "backbone.0.body.layer3."),
    (r"backbone\.stages\.3\.", "backbone.0.body.layer4."),
    (r"backbone\.", "backbone.0.body."),
    (r"input_projection\.", "input_proj."),
    (r"encoder\.", "trans_encoder.encoder."),
    (r"text\.model\.", "bert."),
    (r"text\.projection\.", "bert_proj."),
    (r"verification\.word_attention\.", VERIFICATION_PREFIX + "img2text_attn."),
    (r"verification\.context_word_attention\.", VERIFICATION_PREFIX + "img2textcond_attn."),
    (r"verification\.context_attention\.", VERIFICATION_PREFIX + "img2img_attn."),
    (r"verification\.image_projection\.", VERIFICATION_PREFIX + "img_proj.layers.0."),
    (r"verification\.text_projection\.", VERIFICATION_PREFIX + "text_proj.layers.0."),
    (r"verification\.image_norm\.", VERIFICATION_PREFIX + "norm_img."),
    (r"verification\.context_norm\.", VERIFICATION_PREFIX + "norm_text_cond_img."),
    (r"verification\.(scale|sigma)$", VERIFICATION_PREFIX + r"tf_\1"),
    (r"decoder\.prior\.", "trans_decoder.decoder.ffn."),
    (r"decoder\.visual_embedding$", "trans_decoder.decoder.vis_query_embed.weight"),
    (r"decoder\.text_embedding$", "trans_decoder.decoder.text_query_embed.weight"),
    (r"decoder\.", "trans_decoder.decoder."),
    (r"box_head\.", "bbox_embed."),
)
"""Rules from the start of our name to the start of the published name; the first match counts."""

CONSTANT_TENSORS = re.compile(r"(\.pos_[xy]|bert\.embeddings\.position_ids|\.num_batches_tracked)$")
"""Pattern of published tensors that follow from the architecture or are never used."""

PRIOR_PREFIX = "trans_decoder.decoder.ffn."


def get_published_name(name: str) -> str:
    """Return the published name of one of our parameters or buffers."""
    for pattern, replacement in RENAMING_RULES:
        changed, count = re.subn("^" + pattern, replacement, name)
        if count:
            return changed
    raise ValueError(f"no rule gives {name!r} a published name")


def load_published(network: GroundingNetwork, state: Mapping[str, Tensor], origin: str) -> None:
    """Load tensors of the published layout; a network without a prior branch ignores the checkpoint's.

    Raises:
        TrainerError: tensors are missing, unexpected or of another shape; lists them by published name.
    """
    from trainer.model.state_dict import load_strictly

    own_names = {get_published_name(name): name for name in network.state_dict()}
    ignored = {
        name
        for name in state
        if CONSTANT_TENSORS.search(name) or (not network.config.use_prior and name.startswith(PRIOR_PREFIX))
    }
    given = {own_names.get(name, name): tensor for name, tensor in state.items() if name not in ignored}
    load_strictly(network, given, origin)


def convert_to_published(network: GroundingNetwork) -> dict[str, Tensor]:
    """Return the network's tensors in the published layout, including the constants of the architecture.

    Raises:
        TrainerError: the network has exemplar scoring, which that layout lacks.
    """
    if network.config.exemplar_scoring is not None:
        raise TrainerError(
            "the published layout has no place for exemplar scoring (exemplar_scoring in config.json); "
            "export a network that was trained without it"
        )
    from trainer.model.position_encoding import compute_relative_sines

    state = {
        get_published_name(name): tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }
    table = compute_relative_sines(network.config.grid, network.config.width // 2)
    return {**state, **{f"{VERIFICATION_PREFIX}img2img_attn.pos_{axis}": table.clone() for axis in "xy"}}


def read_pth(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a ``.pth`` file, or of its ``model`` entry; no code in the file is run.

    Raises:
        TrainerError: the file is missing, damaged, or holds more than tensors and plain settings.
    """
    try:
        state = read_tensors(path)
    except SourceError as error:
        raise TrainerError(str(error)) from error
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def infer_published_config(state: Mapping[str, Tensor]) -> NetworkConfig:
    """Return the published sizes for BERT-base, with a prior branch if the checkpoint has one."""
    from transformers import BertConfig

    prior = state.get(f"{PRIOR_PREFIX}0.weight")
    return replace(
        make_published_config(),
        use_prior=prior is not None,
        prior_dim=512 if prior is None else prior.shape[1],
        text=BertConfig().to_dict(),
    )


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Convert a published checkpoint to a folder for prediction."""

    source: Path
    """Checkpoint file (``.pth``) of ResVG or VLTVG with ResNet-50 and BERT-base."""

    folder: Path
    """Folder to write."""

    tokenizer: str = "google-bert/bert-base-uncased"
    """Hub id or folder of the tokenizer."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Convert a trained folder to a checkpoint of the published layout."""

    folder: Path
    """Folder that training has saved."""

    destination: Path
    """Checkpoint file to write."""


def import_published(config: ImportConfig) -> None:
    """Convert a published checkpoint to a folder for prediction.

    Raises:
        TrainerError: the file is damaged, or its tensors do not fit the published network.
    """
    from trainer.data.processor import Processor, load_tokenizer
    from trainer.model.network import GroundingNetwork

    state = read_pth(config.source)
    network = GroundingNetwork(infer_published_config(state))
    load_published(network, state, str(config.source))
    network.save_pretrained(config.folder)
    Processor(ProcessorConfig(), load_tokenizer(config.tokenizer)).save_pretrained(config.folder)


def export_published(config: ExportConfig) -> None:
    """Convert a trained folder to a published checkpoint.

    Raises:
        TrainerError: the folder is missing or damaged, or its network has exemplar scoring.
    """
    import torch

    from trainer.model.network import GroundingNetwork

    torch.save({"model": convert_to_published(GroundingNetwork.from_pretrained(config.folder))}, config.destination)


def main() -> None:
    """Run the command line."""
    commands: dict[str, Callable[..., Any]] = {"import": ImportConfig, "export": ExportConfig}
    config = tyro.extras.subcommand_cli_from_dict(commands, description=format_text(__doc__ or ""), prog=get_program())
    try:
        import_published(config) if isinstance(config, ImportConfig) else export_published(config)
    except TrainerError as error:
        exit_with_error(error)


if __name__ == "__main__":
    main()
