"""Rehearse the whole job with full-size models of random weights, and report time, memory, disk and hours for RefCOCO.

    python -m workflows.rehearsal                                 # on a GPU, in the sizes of the presets
    python -m workflows.rehearsal --smoke                         # small models, in minutes on a CPU
    python -m workflows.rehearsal --num-images 16 --num-scenes 6 --image-size-px 64 --num-inference-steps 2 \\
        --num-views 1 --train-steps 3 --batch-images 2 --num-workers 0    # full-size models on a CPU

Nothing is downloaded. The models have the architectures of Stable Diffusion 1.5, CLIP ViT-B/32, RT-DETR-R50,
BERT-base and DETR-R50. The images are drawn. Every step is the command that you would run on your data: ingest,
generate-priors, augment (prompted, pasted, photographs), crop-features, pack, train (with and without exemplars),
evaluate, predict. A detector with random weights detects nothing of use, so rendered and pasted scenes are rejected.

To resume, run the same command again. You find the report in ``runs/rehearsal``, and the output of the steps in
``runs/rehearsal/log``.
"""

from __future__ import annotations

import json
import os

from pipeline import write_atomic
from workflows.cli.console import run, save_results
from workflows.cli.steps import run_steps
from workflows.rehearsal.config import RehearsalConfig
from workflows.rehearsal.plan import VOCABULARY, list_steps


def main(config: RehearsalConfig) -> None:
    """Run the missing steps, then save and print the report."""
    if config.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # for the processes of the steps
    write_atomic(config.folder / "vocabulary.json", json.dumps(VOCABULARY))
    costs = run_steps(list(list_steps(config)), config.folder)
    from workflows.rehearsal.report import build_report, format_report

    report = build_report(config, costs)
    save_results(config.folder, "rehearsal", report, format_report(report))


if __name__ == "__main__":
    run(main, RehearsalConfig, __doc__)
