"""Scenes that are asked for as layouts, with a tiny GLIGEN of the real classes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    PNDMScheduler,
    UNet2DConditionModel,
)
from diffusers.pipelines.deprecated.stable_diffusion_gligen.pipeline_stable_diffusion_gligen import (
    StableDiffusionGLIGENPipeline,
)
from transformers import CLIPTextModel, CLIPTokenizer

from augmentation.composers.composed import ComposedScene
from augmentation.composers.gligen import Layout, LayoutComposer, LayoutRenderer, request_objects
from augmentation.composers.gligen_config import GligenConfig
from augmentation.composers.layouts import LayoutConfig
from augmentation.errors import AugmentationError
from augmentation.planning.scene_spec import SceneSpec
from pipeline import Item, Rejected

CUPS = Layout(
    prompt="two red cups, a ball",
    phrases=("a red cup", "a ball", "a red cup"),
    boxes_xyxy=((2.0, 3.0, 14.0, 17.0), (16.0, 4.0, 30.0, 16.0), (8.0, 18.0, 24.0, 30.0)),
    seed=2**62 + 5,
)
DOG = Layout(prompt="a dog", phrases=("a dog",), boxes_xyxy=((4.0, 4.0, 28.0, 28.0),), seed=7)


def _saved(painter: Path, folder: Path, scheduler: Any, attention_type: str = "gated") -> Path:
    """The tiny Stable Diffusion with another denoiser, whose gates are open: as they are made, they hide the boxes."""
    torch.manual_seed(1)
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 8),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=4,
        attention_type=attention_type,
    )
    for name, values in unet.named_parameters():
        if "alpha_" in name or "null_" in name:
            torch.nn.init.normal_(values, 1.0)
    pipeline = StableDiffusionGLIGENPipeline(
        vae=AutoencoderKL.from_pretrained(painter, subfolder="vae"),
        text_encoder=CLIPTextModel.from_pretrained(painter, subfolder="text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(painter, subfolder="tokenizer"),
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def gligen(painter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _saved(painter, tmp_path_factory.mktemp("gligen"), DDIMScheduler())


def _config(folder: Path, **changes: Any) -> GligenConfig:
    plain: dict[str, Any] = {
        "num_inference_steps": 5,
        "guidance_scale": 3.0,
        "grounded_share": 0.5,
        "image_size_px": 32,
        "batch_size": 3,
    }
    # In float64, since the denoiser amplifies the rounding of float32, which differs from CPU to CPU, beyond 1e-4.
    return GligenConfig(checkpoint=str(folder), dtype="float64", **{**plain, **changes})


def _of_library(folder: Path, config: GligenConfig, layout: Layout, output_type: str) -> Any:
    pipeline = StableDiffusionGLIGENPipeline.from_pretrained(folder, safety_checker=None, torch_dtype=torch.float64)
    pipeline.set_progress_bar_config(disable=True)
    with torch.inference_mode():
        return pipeline(
            prompt=layout.prompt,
            negative_prompt="blurred",
            gligen_phrases=list(layout.phrases),
            gligen_boxes=[[edge / config.image_size_px for edge in box] for box in layout.boxes_xyxy],
            gligen_scheduled_sampling_beta=config.grounded_share,
            height=config.image_size_px,
            width=config.image_size_px,
            num_inference_steps=config.num_inference_steps,
            guidance_scale=config.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(layout.seed),
            output_type=output_type,
        ).images


@pytest.mark.parametrize("scheduler", [DDIMScheduler, PNDMScheduler, EulerAncestralDiscreteScheduler])
@pytest.mark.parametrize("guidance_scale", [3.0, 1.0])
def test_the_loop_draws_one_layout_as_the_deprecated_pipeline_does(
    painter: Path, tmp_path: Path, scheduler: Any, guidance_scale: float
) -> None:
    config = _config(_saved(painter, tmp_path, scheduler()), guidance_scale=guidance_scale)
    ours = LayoutRenderer(config).latents([CUPS], negative_prompt="blurred")
    torch.testing.assert_close(ours, _of_library(tmp_path, config, CUPS, "latent"), rtol=1e-6, atol=1e-6)


def test_latents_are_decoded_as_the_deprecated_pipeline_does(gligen: Path) -> None:
    config = _config(gligen)
    image = LayoutRenderer(config).render([CUPS], negative_prompt="blurred")[0]
    assert image is not None and image.shape == (32, 32, 3) and image.dtype == np.uint8
    theirs = _of_library(gligen, config, CUPS, "np")[0] * 255
    np.testing.assert_allclose(image, theirs, atol=0.51)


@pytest.mark.parametrize("scheduler", [DDIMScheduler, EulerAncestralDiscreteScheduler])
def test_a_picture_does_not_depend_on_its_batch(painter: Path, tmp_path: Path, scheduler: Any) -> None:
    renderer = LayoutRenderer(_config(_saved(painter, tmp_path, scheduler())))
    together, alone = renderer.latents([DOG, CUPS]), renderer.latents([CUPS])
    torch.testing.assert_close(together[1:], alone, rtol=1e-6, atol=1e-6)


def test_only_the_layout_tells_two_pictures_of_a_batch_apart(gligen: Path) -> None:
    moved = replace(CUPS, boxes_xyxy=(*CUPS.boxes_xyxy[:2], (4.0, 20.0, 12.0, 28.0)))
    said = replace(CUPS, phrases=(*CUPS.phrases[:2], "a blue hat"))
    one, twin, other, third = LayoutRenderer(_config(gligen, batch_size=4)).latents([CUPS, CUPS, moved, said])
    torch.testing.assert_close(one, twin, rtol=1e-6, atol=1e-6)
    assert (one - other).abs().max() > 1e-3 < (one - third).abs().max()


def test_without_a_grounded_step_boxes_do_not_matter(gligen: Path) -> None:
    moved = replace(CUPS, boxes_xyxy=(*CUPS.boxes_xyxy[:2], (4.0, 20.0, 12.0, 28.0)))
    one, other = LayoutRenderer(_config(gligen, grounded_share=0.0)).latents([CUPS, moved])
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


SPEC = SceneSpec(
    key="scene",
    category="cup",
    count=3,
    attributes={"pattern": "striped", "color": "orange"},
    prompt="three striped orange cups",
    arrangement="row",
    clutter=("ball", "hat"),
)


def _item(spec: SceneSpec = SPEC, seed: int = 3) -> Item:
    return Item(key=spec.key, seed=seed, payload=spec.to_payload())


def test_a_scene_is_asked_for_in_boxes_of_its_arrangement_farther_things_first(gligen: Path) -> None:
    requested = request_objects(SPEC, 3, _config(gligen))
    assert not isinstance(requested, Rejected)
    assert sorted(one.category for one in requested) == ["ball", "cup", "cup", "cup", "hat"]
    feet = [one.box_xyxy[3] for one in requested]
    assert feet == sorted(feet)
    cups = sorted(one.box_xyxy for one in requested if one.category == "cup")
    assert cups[0][2] <= cups[1][0] and cups[1][2] <= cups[2][0]  # a row
    ratios = [(x2 - x1) / (y2 - y1) for x1, y1, x2, y2 in cups]
    assert ratios == pytest.approx([ratios[0]] * 3, rel=0.01) and 1 / 1.5 <= ratios[0] <= 1.5
    assert not any(one.attributes for one in requested)
    assert requested == request_objects(SPEC, 3, _config(gligen)) != request_objects(SPEC, 4, _config(gligen))


def test_a_known_shape_of_a_category_is_kept(gligen: Path) -> None:
    requested = request_objects(SPEC, 3, _config(gligen, aspect_ratios={"cup": 0.5}))
    assert not isinstance(requested, Rejected)
    shapes = [(x2 - x1) / (y2 - y1) for x1, y1, x2, y2 in (one.box_xyxy for one in requested if one.category == "cup")]
    assert shapes == pytest.approx([0.5] * 3, rel=0.01)  # edges are multiples of 1 / 64 px


def test_the_composer_draws_what_it_asks_for_with_the_seeds_of_its_items(gligen: Path) -> None:
    stage = LayoutComposer(_config(gligen), negative_prompt="blurred")
    assert (stage.name, stage.batch_size) == ("compose", 3)
    stage.setup()
    composed = stage.process([_item(), _item(seed=4)])
    first, second = (one for one in composed if isinstance(one, ComposedScene))
    assert (first.key, first.seed, first.composer, first.spec) == ("scene", 3, "layout", SPEC)
    assert first.requested == request_objects(SPEC, 3, _config(gligen)) and first.requested != second.requested
    words = {"cup": "a striped orange cup", "ball": "a ball", "hat": "a hat"}
    layout = Layout(
        prompt="three striped orange cups, a ball, a hat",
        phrases=tuple(words[one.category] for one in first.requested),
        boxes_xyxy=tuple(one.box_xyxy for one in first.requested),
        seed=3,
    )
    image = LayoutRenderer(_config(gligen)).render([layout], "blurred")[0]
    assert image is not None
    np.testing.assert_allclose(first.image.astype(int), image.astype(int), atol=1)


def test_scenes_that_do_not_fit_are_rejected_and_the_others_drawn(gligen: Path) -> None:
    stage = LayoutComposer(_config(gligen, layout=LayoutConfig(min_size=0.3)))
    stage.setup()
    many, few = replace(SPEC, key="many", count=8), replace(SPEC, key="few", count=2, clutter=())
    more = replace(SPEC, key="more", clutter=("ball",) * 28)
    results = stage.process([_item(many), _item(few), _item(more)])
    assert [one.key for one in results] == ["many", "few", "more"]
    assert isinstance(results[0], Rejected) and results[0].reason == "does_not_fit"
    assert "8 cup and 2 more as row on 32 x 32" in results[0].detail
    assert isinstance(results[1], ComposedScene) and len(results[1].requested) == 2
    assert isinstance(results[2], Rejected) and results[2].reason == "too_many_objects"


def test_a_picture_that_is_not_finite_is_rejected(gligen: Path, tmp_path: Path) -> None:
    shutil.copytree(gligen, tmp_path / "broken")
    vae = AutoencoderKL.from_pretrained(tmp_path / "broken", subfolder="vae")
    torch.nn.init.constant_(vae.post_quant_conv.bias, float("nan"))
    vae.save_pretrained(tmp_path / "broken" / "vae")
    stage = LayoutComposer(_config(tmp_path / "broken", num_inference_steps=1))
    stage.setup()
    result = stage.process([_item()])[0]
    assert isinstance(result, Rejected) and result.reason == "not_finite" and "dtype float32" in result.detail


def test_a_denoiser_without_gated_layers_is_refused(painter: Path, tmp_path: Path) -> None:
    with pytest.raises(AugmentationError, match=r"has attention_type 'default'; phrases in boxes need 'gated'"):
        LayoutRenderer(_config(painter))
    _saved(painter, tmp_path, DDIMScheduler(), "gated-text-image")
    with pytest.raises(AugmentationError, match="has attention_type 'gated-text-image'"):
        LayoutRenderer(_config(tmp_path))


def test_missing_folders_are_refused(gligen: Path, tmp_path: Path) -> None:
    with pytest.raises(AugmentationError, match=r"is no GLIGEN of diffusers .* give a folder with model_index\.json"):
        LayoutRenderer(_config(tmp_path / "nowhere"))
    shutil.copytree(gligen, tmp_path / "partial")
    shutil.rmtree(tmp_path / "partial" / "vae")
    with pytest.raises(AugmentationError, match="partial is no GLIGEN of diffusers"):
        LayoutRenderer(_config(tmp_path / "partial"))
    shutil.copytree(gligen, tmp_path / "odd")
    index = json.loads((tmp_path / "odd" / "model_index.json").read_text())
    (tmp_path / "odd" / "model_index.json").write_text(json.dumps({**index, "scheduler": ["diffusers", "NoScheduler"]}))
    with pytest.raises(AugmentationError, match="NoScheduler"):
        LayoutRenderer(_config(tmp_path / "odd"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size_px": 100}, "try 96"),
        ({"num_inference_steps": 0}, "num_inference_steps must be at least 1, got 0"),
        ({"guidance_scale": -1.0}, "guidance_scale must be at least 0, got -1"),
        ({"grounded_share": 1.1}, r"grounded_share must lie in \[0, 1\], got 1.1"),
        ({"max_aspect_ratio": 0.9}, "got 0.9"),
        ({"aspect_ratios": {"cup": 0.0}}, "aspect_ratios must be positive"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _config(Path("x"), **changes)


@pytest.mark.parametrize(("boxes", "phrases"), [(0, 0), (2, 1), (31, 31)])
def test_a_layout_has_a_phrase_for_each_of_its_boxes(boxes: int, phrases: int) -> None:
    with pytest.raises(ValueError, match=f"got {boxes} boxes and {phrases} phrases"):
        Layout(prompt="x", phrases=("a cup",) * phrases, boxes_xyxy=((0.0, 0.0, 1.0, 1.0),) * boxes, seed=0)
