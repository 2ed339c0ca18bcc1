"""Reading, writing and strict loading of named tensors; errors list the tensors that do not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainer.errors import TrainerError

MAX_LISTED_NAMES = 8
"""Number of names in an error message; the rest is counted."""


def format_names(names: Iterable[str]) -> str:
    """Format names in order, such as "a, b and 3 more"."""
    ordered = sorted(names)
    more = f" and {len(ordered) - MAX_LISTED_NAMES} more" if len(ordered) > MAX_LISTED_NAMES else ""
    return ", ".join(ordered[:MAX_LISTED_NAMES]) + more


def check_shapes(own: Mapping[str, Tensor], given: Mapping[str, Tensor], origin: str) -> None:
    """Check that tensors of the same name have the same shape.

    Raises:
        TrainerError: the shapes of a tensor differ; names the tensor and both shapes.
    """
    for name in sorted(own.keys() & given.keys()):
        if own[name].shape != given[name].shape:
            raise TrainerError(
                f"{origin}: {name} has shape {tuple(given[name].shape)}, the network's has {tuple(own[name].shape)}; "
                "choose a network of the checkpoint's sizes"
            )


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Load every tensor of ``module`` from ``state``.

    Raises:
        TrainerError: tensors are missing, unexpected or of another shape; lists them.
    """
    own = module.state_dict()
    missing, unexpected = own.keys() - state.keys(), state.keys() - own.keys()
    if missing or unexpected:
        raise TrainerError(
            f"{origin} does not fit the network: {len(missing)} tensors are missing ({format_names(missing)}), "
            f"{len(unexpected)} unexpected ({format_names(unexpected)})"
        )
    check_shapes(own, state, origin)
    module.load_state_dict(dict(state))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Raises:
        TrainerError: the file is missing or damaged.
    """
    if not path.is_file():
        raise TrainerError(f"{path} does not exist; give a folder that training has saved")
    try:
        state: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise TrainerError(f"{path} is damaged ({error}); copy or save the checkpoint again") from error
    return state


def write_safetensors(state: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors to a safetensors file, moved to the CPU, with the permissions of other new files."""
    path.touch()  # safetensors makes its files readable by their owner only
    mode = path.stat().st_mode
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, path, {"format": "pt"})
    path.chmod(mode)
