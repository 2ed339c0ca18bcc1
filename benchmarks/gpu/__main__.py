"""Measure the full-size models with random weights on one GPU: priors, training, evaluation, loading, detection.

    make benchmark NAME=gpu                                    # all parts
    make benchmark NAME=gpu ARGS="--parts training --minutes 3"
    make benchmark NAME=gpu ARGS="--smoke"                     # the same code with miniature models, on a CPU

Nothing is downloaded. Each figure is written to ``benchmarks/results/gpu.json`` as soon as it is there, so a killed run
keeps them. A part that fails is recorded with its error, and the next one runs. Compiled parts need minutes the first
time; set TORCHINDUCTOR_CACHE_DIR to keep what they compile.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
import traceback
from pathlib import Path

import torch

from benchmarks.gpu import detection, priors, training
from benchmarks.gpu.record import Record, console, measure_matmul_tflops
from workflows.cli.console import configure_library_logging

PARTS = {
    "priors": priors.measure_stable_diffusion,
    "priors-compiled": priors.measure_stable_diffusion_compiled,
    "turbo": priors.measure_sd_turbo,
    "formats": priors.measure_memory_formats,
    "training": training.measure_training_speed,
    "training-details": training.measure_training_details,
    "training-compiled": training.measure_compiled_training_speed,
    "profile": training.profile_training,
    "evaluation": training.measure_evaluation_speed,
    "loader": training.measure_loading,
    "detection": detection.measure_detection,
    "sdxl": priors.measure_sdxl_unet,
    "training-cuda-graphs": training.measure_cuda_graph_speed,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=8, help="repetitions of each comparison; 0 only compiles")
    parser.add_argument("--minutes", type=float, default=8, help="no part starts after so many minutes")
    parser.add_argument("--smoke", action="store_true", help="miniature models")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/gpu.json"))
    options = parser.parse_args()
    configure_library_logging()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not options.smoke:
        raise SystemExit("there is no GPU; use --smoke to try the benchmark on a CPU")
    with tempfile.TemporaryDirectory() as name:
        record = Record(
            path=options.output, smoke=options.smoke, rounds=options.rounds, folder=Path(name), device=device
        )
        dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
        record.add("matmul", "TFLOP/s", {name: measure_matmul_tflops(dtype, device) for name, dtype in dtypes.items()})
        for part in options.parts:
            if time.monotonic() - record.started > 60 * options.minutes:
                record.add(part, "skipped", f"after {options.minutes} minutes")
                continue
            try:
                PARTS[part](record)
            except Exception as error:  # noqa: BLE001 - the other parts are worth measuring
                traceback.print_exc()
                record.add(part, "failed", f"{type(error).__name__}: {error}"[:500])
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
    console.print(f"figures: {options.output}")


if __name__ == "__main__":
    main()
