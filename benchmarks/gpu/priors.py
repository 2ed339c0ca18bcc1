"""Priors: a researcher's loop, diffusers' best practice, and ours, from prompts to images and features."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from diffusers import AutoPipelineForText2Image
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.record import (
    Record,
    Stopwatch,
    measure_matmul_tflops,
    measure_seconds,
    profile_kernels,
    watch_gpu,
)
from benchmarks.render import Loop, Ours
from generation.models.image_encoder import EncoderConfig
from generation.models.text_to_image import RenderConfig, Renderer
from generation.models.webp import encode_webp
from generation.priors.config import PriorConfig, build_image_settings, compute_encoder_fingerprint, compute_prior_id
from generation.priors.rendering import PriorRenderer, RenderStage
from generation.priors.seeds import compute_image_seed
from generation.priors.store import PriorSink
from pipeline import Job, PlanRow, run_job
from workflows.presets import miniature, random_weights


def measure_stable_diffusion(record: Record) -> None:
    """Measure Stable Diffusion 1.5 at 512 px with 20 steps and guidance, without compilation."""
    config = _make_config(record, "sd15")
    renderer = PriorRenderer(config, partial(encode_webp, quality=90))
    loop = Loop(config, renderer, _make_folder(record, "loop"))
    prompts = make_prompts(6 if not record.smoke else 2)
    loop(prompts[:1])
    record.add("priors", "loop", {"images_per_s": round(len(prompts) / measure_seconds(partial(loop, prompts)), 3)})
    del loop
    _measure_ours(record, "priors", "ours", config, renderer, 3)
    _measure_parts(record, "priors", config, renderer)
    del renderer
    torch.cuda.empty_cache()
    _measure_run(record, "priors", "run with shards", config, 96)


def measure_stable_diffusion_compiled(record: Record) -> None:
    """Measure the same with compiled models, ours and diffusers' best practice."""
    config = _make_config(record, "sd15")
    config = replace(config, render=replace(config.render, compile=True))
    renderer = PriorRenderer(config, partial(encode_webp, quality=90))
    record.add("priors", "compilation_s", round(_warm_up(config, renderer), 1))
    if not record.rounds:
        return
    _measure_ours(record, "priors", "ours, compiled", config, renderer, 3)
    _measure_milliseconds(record, "priors", "milliseconds, compiled", config, renderer)
    practice = BestPractice(config, renderer, _make_folder(record, "practice"))
    prompts = make_prompts(config.render.batch_size * (1 if record.smoke else 2))
    practice(prompts[: config.render.batch_size])
    with watch_gpu() as gpu:
        seconds = measure_seconds(partial(practice, prompts))
    record.add("priors", "best practice", {"images_per_s": round(len(prompts) / seconds, 3), **gpu})
    del practice, renderer
    torch.cuda.empty_cache()
    _measure_run(record, "priors", "run with shards, compiled", config, 128)


def measure_sd_turbo(record: Record) -> None:
    """Measure SD-Turbo with one step, compiled and not, and what the host does for each image."""
    config = _make_config(record, "turbo")
    compiled = replace(config, render=replace(config.render, compile=True))
    renderer = _measure_sd_turbo(record, "ours, compiled", compiled)
    if not record.rounds:
        return
    _measure_host(record, renderer)
    del renderer
    torch.cuda.empty_cache()
    _measure_run(record, "turbo", "run with shards, compiled", compiled, 768, priors_per_shard=256)
    _measure_sd_turbo(record, "ours", config)


def _measure_sd_turbo(record: Record, name: str, config: PriorConfig) -> PriorRenderer:
    renderer = PriorRenderer(config, partial(encode_webp, quality=90))
    record.add("turbo", f"{name}: first batch_s", round(_warm_up(config, renderer), 1))
    if record.rounds:
        _measure_ours(record, "turbo", name, config, renderer, 10)
        _measure_milliseconds(record, "turbo", f"milliseconds, {name}", config, renderer)
    return renderer


def measure_memory_formats(record: Record) -> None:
    """Measure a step of SD 1.5's UNet and a decode of its VAE in each memory format, not compiled."""
    config = _make_config(record, "sd15")
    renderer = Renderer(config.render)
    for name, memory_format in (("channels-last", torch.channels_last), ("contiguous", torch.contiguous_format)):
        for model in (renderer._pipeline.unet, renderer._pipeline.vae):
            model.to(memory_format=memory_format)
        figures: dict[str, float] = {}
        for part, run in _make_passes(record, config, renderer).items():
            run()
            figures[f"{part}, ms"] = round(1000 * median(measure_seconds(run) for _ in range(5)), 2)
        record.add("formats", name, figures)


def measure_sdxl_unet(record: Record) -> None:
    """Measure one pass of SDXL's UNet at 1,024 px."""
    if record.smoke:
        return
    unet = random_weights.build_sdxl_unet(torch.float16, record.device).to(memory_format=torch.channels_last)
    make = partial(torch.randn, device=record.device, dtype=torch.float16)
    arguments = {
        "timestep": 500,
        "encoder_hidden_states": make(4, 77, 2048),
        "added_cond_kwargs": {"text_embeds": make(4, 1280), "time_ids": make(4, 6)},
    }

    @torch.inference_mode()
    def run() -> None:
        unet(make(4, 4, 128, 128), **arguments)

    with FlopCounterMode(display=False) as counter:
        run()
    seconds = median(measure_seconds(run) for _ in range(6))
    record.add(
        "sdxl",
        "UNet, batch 4",
        {"ms": round(1000 * seconds, 1), "TFLOP/s": round(counter.get_total_flops() / seconds / 1e12, 1)},
    )


class BestPractice:
    """Documented way of diffusers: batches, channels-last, compiled UNet and VAE; then PNG files and CLIP in batches.

    It shares the compiled models of ours.
    """

    def __init__(self, config: PriorConfig, renderer: PriorRenderer, folder: Path) -> None:
        self.config, self.encoder, self.folder = config, renderer.encoder, folder
        ours = renderer.renderer._pipeline
        self.pipeline: Any = AutoPipelineForText2Image.from_pipe(ours)
        self.pipeline.set_progress_bar_config(disable=True)

    @torch.inference_mode()  # as ours; without it, the compiled models would be compiled again
    def __call__(self, prompts: Sequence[str]) -> None:
        render = self.config.render
        for start in range(0, len(prompts), render.batch_size):
            batch = list(prompts[start : start + render.batch_size])
            images = self.pipeline(
                batch,
                height=render.image_size_px,
                width=render.image_size_px,
                num_inference_steps=render.num_inference_steps,
                guidance_scale=render.guidance_scale,
                generator=[torch.Generator("cpu").manual_seed(compute_image_seed(one, 0, 0)) for one in batch],
            ).images
            for i, image in enumerate(images):
                image.save(self.folder / f"{start + i}.png")
            self.encoder.encode([[np.asarray(image)] for image in images], batch)


def make_prompts(count: int) -> list[str]:
    """Return different prompts."""
    colors = ["red", "green", "blue", "yellow", "purple", "orange", "white", "black"]
    nouns = ["cup", "ball", "star", "house", "bottle", "hat", "car", "dog"]
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [
        f"a {colors[i % 8]} {nouns[i // 8 % 8]} {letters[i // 64 % 26]}{letters[i // 1664 % 26]}" for i in range(count)
    ]


def _make_folder(record: Record, name: str) -> Path:
    folder = record.folder / f"{name}-{time.monotonic_ns()}"
    folder.mkdir()
    return folder


def _make_config(record: Record, model: str) -> PriorConfig:
    """Save a model and return its configuration; half precision on a GPU."""
    device = str(record.device)
    if record.smoke:
        config = miniature.prior_config()
        render = replace(config.render, batch_size=2, num_inference_steps=2, device=device)
        return replace(config, render=render, encoder=replace(config.encoder, device=device))
    folder = record.folder / model
    if not folder.exists():
        save = random_weights.save_stable_diffusion if model == "sd15" else random_weights.save_sd_turbo
        save(folder, torch.float16, record.device)
    clip = record.folder / "clip"
    if not clip.exists():
        random_weights.save_clip(clip, record.device)
    one_step = model == "turbo"
    render = RenderConfig(
        checkpoint=str(folder),
        num_inference_steps=1 if one_step else 20,
        guidance_scale=0.0 if one_step else 7.5,
        image_size_px=512,
        batch_size=16,
        dtype="float16",
        device=device,
    )
    return PriorConfig(render=render, encoder=EncoderConfig(checkpoint=str(clip), device=device))


def _warm_up(config: PriorConfig, renderer: PriorRenderer) -> float:
    return measure_seconds(lambda: renderer.generate_images(make_prompts(config.render.batch_size)))


def _measure_ours(
    record: Record, part: str, name: str, config: PriorConfig, renderer: PriorRenderer, num_batches: int
) -> None:
    """Measure prompts to a written shard in this process."""
    ours = Ours(config, renderer, _make_folder(record, name))
    prompts = make_prompts(config.render.batch_size * (1 if record.smoke else num_batches))
    ours(prompts[: config.render.batch_size])
    with watch_gpu() as gpu:
        seconds = measure_seconds(lambda: ours(prompts))
    record.add(part, name, {"images_per_s": round(len(prompts) / seconds, 3), **gpu})


def _measure_milliseconds(
    record: Record, part: str, name: str, config: PriorConfig, renderer: PriorRenderer
) -> dict[str, float]:
    """Measure milliseconds on the device of a step of the UNet, of the VAE and of CLIP, for one batch."""
    stopwatch, pipeline = Stopwatch(), renderer.renderer._pipeline
    unet = pipeline.unet
    compiled = unet._compiled_call_impl
    unet._compiled_call_impl = stopwatch.wrap("UNet step", compiled or unet._call_impl)  # outside of compiled code
    decode = pipeline.vae.decode
    pipeline.vae.decode = stopwatch.wrap("VAE", decode)
    prompts = make_prompts(config.render.batch_size)
    images = renderer.renderer.render(prompts, range(len(prompts)))
    stopwatch.pop_ms()
    wall_s = measure_seconds(lambda: renderer.renderer.render(prompts, range(len(prompts))))
    spent = stopwatch.pop_ms()
    unet._compiled_call_impl, pipeline.vae.decode = compiled, decode
    encode_ms = 1000 * median(measure_seconds(lambda: renderer.encoder.encode_images(images)) for _ in range(3))
    figures = {
        "batch": len(prompts),
        "UNet step": round(median(spent["UNet step"]), 2),
        "VAE": round(median(spent["VAE"]), 2),
        "share of the batch in both": round(sum(map(sum, spent.values())) / 1000 / wall_s, 3),
        "batch without CLIP": round(1000 * wall_s, 1),
        "CLIP with preprocessing": round(encode_ms, 1),
    }
    record.add(part, name, figures)
    return figures


def _measure_parts(record: Record, part: str, config: PriorConfig, renderer: PriorRenderer) -> None:
    """Measure milliseconds, achieved TFLOP/s beside a matrix product's, and the longest kernels of a step."""
    figures = _measure_milliseconds(record, part, "milliseconds", config, renderer)
    passes = _make_passes(record, config, renderer.renderer)
    flops = {}
    for name, run in passes.items():
        with FlopCounterMode(display=False) as counter:
            run()
        flops[name] = counter.get_total_flops()
    rates = {name: round(count / figures[name] / 1e9, 1) for name, count in flops.items()}
    matmul = measure_matmul_tflops(getattr(torch, config.render.dtype), record.device)
    record.add(part, "TFLOP/s", {**rates, "matmul": matmul})
    if not record.smoke:
        record.add(part, "profile of a UNet step", profile_kernels(passes["UNet step"]))
        record.add(part, "profile of the VAE", profile_kernels(passes["VAE"]))


def _make_passes(record: Record, config: PriorConfig, renderer: Renderer) -> dict[str, Callable[[], None]]:
    """Return a step of the UNet with guidance, and a decode of the VAE, for one batch of random latents."""
    pipeline, render = renderer._pipeline, config.render
    dtype = getattr(torch, render.dtype)
    side = render.image_size_px // 8
    rows = 2 * render.batch_size
    latents = torch.randn(rows, pipeline.unet.config.in_channels, side, side, device=record.device, dtype=dtype)
    text = torch.randn(rows, 77, pipeline.unet.config.cross_attention_dim, device=record.device, dtype=dtype)

    @torch.inference_mode()
    def run_step() -> None:
        pipeline.unet(latents, 500, encoder_hidden_states=text)

    @torch.inference_mode()
    def decode() -> None:
        pipeline.vae.decode(latents[: render.batch_size])

    return {"UNet step": run_step, "VAE": decode}


def _measure_host(record: Record, renderer: PriorRenderer) -> None:
    """Measure milliseconds of the host's work on one rendered image."""
    image = renderer.renderer.render(["a red cup"], [0])[0]
    figures: dict[str, Any] = {}
    for method in (0, 2, 4):
        buffer = io.BytesIO()
        seconds = measure_seconds(partial(Image.fromarray(image).save, buffer, "WEBP", quality=90, method=method))
        figures[f"WebP method {method}"] = {"ms": round(1000 * seconds, 1), "bytes": buffer.tell()}
    record.add("turbo", "host", figures)


def _measure_run(
    record: Record, part: str, name: str, config: PriorConfig, num_prompts: int, priors_per_shard: int = 128
) -> None:
    """Measure prompts to committed shards as in ``make generate-priors``: a worker process, receipts, flushed files."""
    prompts = make_prompts(8 if record.smoke else num_prompts)
    settings = build_image_settings(config)
    rows = [PlanRow(key=compute_prior_id(one, settings), payload={"prompt": one}) for one in prompts]
    mark = record.folder / f"started-{time.monotonic_ns()}"
    job = Job(
        name="priors",
        fingerprint={},
        inputs=lambda: rows,
        items_per_shard=priors_per_shard,
        seed=0,
        stages=[WarmRenderStage(config, mark)],
        sink=PriorSink(settings, compute_encoder_fingerprint(config)),
    )
    with watch_gpu() as gpu:
        report = run_job(job, _make_folder(record, "run") / "run")
        seconds = time.time() - float(mark.read_text())
        gpu["since"] = float(mark.read_text())
    gpu.pop("peak_memory_gb", None)  # of this process, not of the worker
    record.add(part, name, {"images": report.accepted, "images_per_s": round(len(prompts) / seconds, 2), **gpu})


class WarmRenderStage(RenderStage):
    """Stage that renders a batch when it is set up, and then writes the time to a file."""

    def __init__(self, config: PriorConfig, mark: Path) -> None:
        super().__init__(config)
        self.mark = mark

    def setup(self) -> None:
        super().setup()
        self._renderer.generate_images(make_prompts(2 * self.config.render.batch_size))
        self.mark.write_text(str(time.time()))
