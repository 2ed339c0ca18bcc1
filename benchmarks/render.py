"""Measure how fast priors are rendered against a plain loop, alternating in one process with the same models.

    make benchmark NAME=render                                        # the miniature models, a few minutes on a CPU
    make benchmark NAME=render ARGS="--full-size --prompts 32 --size 512 --steps 20 --dtype float16"   # on a GPU

The loop calls ``pipeline(prompt)`` for each query, saves the PNG, opens it and applies CLIP. Ours is ``PriorRenderer``
with the store's sink. Checkpoint, size, steps, scheduler, guidance, precision and threads are the same. ``--full-size``
builds the architectures of Stable Diffusion 1.5 and CLIP ViT-B/32 with random weights. Prints a table and writes the
figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from diffusers import AutoPipelineForText2Image
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from generation.models.webp import encode_webp
from generation.parsing.normalization import is_empty
from generation.priors.config import PriorConfig, build_image_settings, compute_encoder_fingerprint, compute_prior_id
from generation.priors.prior import Prior
from generation.priors.prompt import build_prompt
from generation.priors.rendering import PriorRenderer
from generation.priors.seeds import compute_image_seed
from generation.priors.store import PriorSink
from shards.sources.isolated import read_pickle
from workflows.cli.console import configure_library_logging
from workflows.presets import miniature

Figures = dict[str, float | int | str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full-size", action="store_true", help="SD 1.5 and CLIP ViT-B/32 with random weights")
    parser.add_argument("--prompts", type=int, default=96, help="different prompts drawn in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, help="side of the image in pixels; the preset's if not given")
    parser.add_argument("--num-inference-steps", type=int, help="denoising steps; the preset's if not given")
    parser.add_argument("--guidance-scale", type=float, help="the preset's if not given")
    parser.add_argument("--batch-size", type=int, help="ours; the loop draws one at a time")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float32")
    parser.add_argument("--loop-dtype", choices=["float32", "float16", "bfloat16"], help="of the loop, if another")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--queries", type=Path, help="TransVG split file, to count how many queries share a prompt")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/render.json"))
    options = parser.parse_args()
    configure_library_logging()
    with tempfile.TemporaryDirectory() as name:
        config = _apply_options(
            _make_full_size_config(Path(name), options.dtype) if options.full_size else miniature.prior_config(),
            options,
        )
        figures = _measure_speed(config, options, Path(name))
    _show(figures)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(options.output.read_text()) if options.output.exists() else {}
    title = f"{'SD 1.5, random weights' if options.full_size else 'miniature'}, {config.render.device}, {options.dtype}"
    options.output.write_text(json.dumps({**kept, title: figures}, indent=1) + "\n")


def _apply_options(config: PriorConfig, options: argparse.Namespace) -> PriorConfig:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = {
        "image_size_px": options.size,
        "num_inference_steps": options.num_inference_steps,
        "guidance_scale": options.guidance_scale,
    }
    chosen |= {"batch_size": options.batch_size}
    given = {name: value for name, value in chosen.items() if value is not None}
    render = replace(config.render, device=device, dtype=options.dtype, compile=options.compile, **given)
    return replace(config, render=render, encoder=replace(config.encoder, device=device))


def _measure_speed(config: PriorConfig, options: argparse.Namespace, scratch: Path) -> Figures:
    prompts = _make_prompts(options.prompts)
    loop_dtype = options.loop_dtype or options.dtype
    drawer = PriorRenderer(config, partial(encode_webp, quality=90))
    loop = Loop(replace(config, render=replace(config.render, dtype=loop_dtype)), drawer, scratch)
    ours = Ours(config, drawer, scratch)
    for warm_up in (loop, ours):
        warm_up(prompts[: config.render.batch_size])
    seconds: dict[str, list[float]] = {"loop": [], "ours": []}
    peaks: dict[str, float] = {}
    for _ in range(options.rounds):
        for name, way in (("loop", loop), ("ours", ours)):
            with _track_peak_memory() as peak:
                seconds[name].append(_measure_seconds(partial(way, prompts)))
            peaks[name] = max(peaks.get(name, 0.0), peak())
    ratios = [a / b for a, b in zip(seconds["loop"], seconds["ours"], strict=True)]
    rate = len(prompts) / statistics.median(seconds["ours"])
    share = _measure_model_share(drawer, lambda: ours(prompts))
    queries, unique = _count_prompts(options.queries)
    flops = _count_flops(drawer, prompts[0])
    matmul = _measure_matmul_rate(config)
    return {
        "images/s, loop": round(len(prompts) / statistics.median(seconds["loop"]), 3),
        "images/s, ours": round(rate, 3),
        "times as fast, median of rounds": round(statistics.median(ratios), 2),
        "times as fast, by round": ", ".join(f"{ratio:.2f}" for ratio in ratios),
        "queries per prompt": round(queries / unique, 2),
        "queries/s, ours": round(rate * queries / unique, 3),
        "peak memory, loop, MB": round(peaks["loop"]),
        "peak memory, ours, MB": round(peaks["ours"]),
        "share of time in denoiser and VAE": round(share, 3),
        "GFLOP per image, denoiser and VAE": round(flops / 1e9, 2),
        "matmul rate, GFLOP/s": round(matmul / 1e9, 1),
        "share of what the matmul rate allows": round(rate * flops / matmul, 3),
        "prompts": len(prompts),
        "image": f"{config.render.image_size_px} px, {config.render.num_inference_steps} steps, "
        f"guidance {config.render.guidance_scale}",
        "batch": config.render.batch_size,
        "precision": f"ours {options.dtype}, loop {loop_dtype}",
        "threads": torch.get_num_threads(),
        "machine": _describe_machine(),
    }


class Loop:
    """Plain loop over queries; it shares our models unless its precision differs."""

    def __init__(self, config: PriorConfig, drawer: PriorRenderer, scratch: Path) -> None:
        self.config, self.encoder, self.folder = config, drawer.encoder, scratch / "loop"
        self.folder.mkdir()
        dtype = getattr(torch, config.render.dtype)
        pipeline = AutoPipelineForText2Image.from_pretrained(config.render.checkpoint, torch_dtype=dtype)
        self.pipeline = pipeline.to(config.render.device)
        self.pipeline.set_progress_bar_config(disable=True)

    def __call__(self, prompts: Sequence[str]) -> None:
        render = self.config.render
        for i, prompt in enumerate(prompts):
            image = self.pipeline(
                prompt,
                height=render.image_size_px,
                width=render.image_size_px,
                num_inference_steps=render.num_inference_steps,
                guidance_scale=render.guidance_scale,
                generator=torch.Generator("cpu").manual_seed(compute_image_seed(prompt, 0, 0)),
            ).images[0]
            image.save(self.folder / f"{i}.png")
            with Image.open(self.folder / f"{i}.png") as opened:
                self.encoder.encode([[np.asarray(opened.convert("RGB"))]], [prompt])


class Ours:
    """Rendering and encoding in batches, then writing of a shard."""

    def __init__(self, config: PriorConfig, drawer: PriorRenderer, scratch: Path) -> None:
        self.drawer, self.folder = drawer, scratch / "ours"
        self.folder.mkdir()
        self.settings = build_image_settings(config)
        self.sink = PriorSink(self.settings, compute_encoder_fingerprint(config))

    def __call__(self, prompts: Sequence[str]) -> None:
        generated = self.drawer.generate_images(prompts)
        items = [Prior(prior_id=compute_prior_id(one.prompt, self.settings), generated=one) for one in generated]
        self.sink.write(items, self.folder)


def _make_prompts(count: int) -> list[str]:
    colors, nouns = (
        ["red", "green", "blue", "yellow", "purple", "orange"],
        ["cup", "ball", "star", "house", "bottle", "hat"],
    )
    patterns = ["", "striped ", "dotted "]
    prompts = [f"a {pattern}{color} {noun}" for pattern in patterns for color in colors for noun in nouns]
    if not 1 <= count <= len(prompts):
        raise SystemExit(f"--prompts must be 1 to {len(prompts)}, got {count}")
    return prompts[:count]


def _measure_seconds(work: Callable[[], object]) -> float:
    _synchronize()
    started = time.perf_counter()
    work()
    _synchronize()
    return time.perf_counter() - started


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def _track_peak_memory() -> Iterator[Callable[[], float]]:
    """Yield a function that returns the peak in MB: of the GPU, or of this process, sampled every 20 ms."""
    process, stop, highest = psutil.Process(), threading.Event(), [0.0]
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        yield lambda: torch.cuda.max_memory_allocated() / 1e6
        return

    def watch() -> None:
        while not stop.wait(0.02):
            highest[0] = max(highest[0], process.memory_info().rss / 1e6)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: highest[0]
    finally:
        stop.set()
        watcher.join()


def _get_denoiser(pipeline: Any) -> Any:
    return getattr(pipeline, "unet", None) or pipeline.transformer


def _measure_model_share(drawer: PriorRenderer, work: Callable[[], object]) -> float:
    """Measure the share of the wall clock of ``work`` in the denoiser's and the VAE decoder's forward."""
    pipeline = drawer.renderer._pipeline
    spent = [0.0]

    def add_timer(function: Callable[..., Any]) -> Callable[..., Any]:
        def call_timed(*args: Any, **kwargs: Any) -> Any:
            _synchronize()
            started = time.perf_counter()
            result = function(*args, **kwargs)
            _synchronize()
            spent[0] += time.perf_counter() - started
            return result

        return call_timed

    denoiser, vae = _get_denoiser(pipeline), pipeline.vae
    compiled, decode = denoiser._compiled_call_impl, vae.decode
    denoiser._compiled_call_impl, vae.decode = add_timer(compiled or denoiser._call_impl), add_timer(decode)
    try:
        whole = _measure_seconds(work)
        return spent[0] / whole
    finally:
        denoiser._compiled_call_impl, vae.decode = compiled, decode


def _count_flops(drawer: PriorRenderer, prompt: str) -> int:
    """Count the floating-point operations of denoiser and VAE for one image."""
    with FlopCounterMode(display=False) as counter:
        drawer.renderer.render([prompt], [0])
    return int(counter.get_total_flops())


def _measure_matmul_rate(config: PriorConfig) -> float:
    """Measure FLOP/s of a large matrix product in the same precision, best of several."""
    device, dtype = config.render.device, getattr(torch, config.render.dtype)
    n = 8192 if device == "cuda" else 1024
    a, b = torch.randn(n, n, device=device, dtype=dtype), torch.randn(n, n, device=device, dtype=dtype)
    return 2 * n**3 / min(_measure_seconds(lambda: a @ b) for _ in range(10))


def _count_prompts(path: Path | None) -> tuple[int, int]:
    """Count queries and different prompts of a split; 1 and 1 without a split."""
    if path is None:
        return 1, 1
    from generation.parsing.attributes import AttributeParser  # imports spaCy

    queries = [str(row[3]) for row in read_pickle(path) if not is_empty(str(row[3]))]
    config = miniature.prior_config().prompt
    wording = replace(config, garments_mean_wearers=True)
    return len(queries), len({build_prompt(one, wording).text for one in AttributeParser().parse(queries)})


def _make_full_size_config(folder: Path, dtype: str) -> PriorConfig:
    """Save Stable Diffusion 1.5 and CLIP ViT-B/32 with random weights, and return their configuration."""
    from workflows.presets.random_weights import save_clip, save_stable_diffusion

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = miniature.prior_config()
    render = replace(
        config.render,
        checkpoint=str(save_stable_diffusion(folder / "stable-diffusion", getattr(torch, dtype), device)),
        num_inference_steps=20,
        guidance_scale=7.5,
        image_size_px=512,
        batch_size=16,
    )
    return replace(
        config, render=render, encoder=replace(config.encoder, checkpoint=str(save_clip(folder / "clip", device)))
    )


def _describe_machine() -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{os.cpu_count()} cores, {platform.machine()}, {device}, torch {torch.__version__}"


def _show(figures: Figures) -> None:
    table = Table("figure", "value")
    for figure, value in figures.items():
        table.add_row(figure, f"{value:,}" if not isinstance(value, str) else value)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    main()
