"""Report the versions and the device of this installation, and fail if torch does not see the GPU.

make check-setup
python -m workflows.check_setup
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from dataclasses import dataclass

from workflows.cli.console import UserError, run


@dataclass(frozen=True, kw_only=True)
class CheckSetupConfig:
    """No options."""


def main(config: CheckSetupConfig) -> None:
    """Print the versions and the device.

    Raises:
        UserError: the machine has an NVIDIA GPU that torch cannot use.
    """
    import torch

    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
    count = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    print(f"Python {platform.python_version()}, torch {torch.__version__}, device {device}, GPUs {count}")
    gpus = list_nvidia_gpus()
    if gpus and not torch.cuda.is_available():
        raise UserError(
            f"torch {torch.__version__} cannot use {gpus[0]}: it is another build, or the driver is too old. Install "
            "the build for your CUDA: remove .venv, then `make setup TORCH_INDEX=URL` with the URL that pytorch.org has"
        )


def list_nvidia_gpus() -> list[str]:
    """Return the names of the machine's NVIDIA GPUs by its driver; empty without one."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    answer = subprocess.run([program, "--list-gpus"], capture_output=True, text=True, check=False)
    return answer.stdout.splitlines() if answer.returncode == 0 else []


if __name__ == "__main__":
    run(main, CheckSetupConfig, __doc__)
