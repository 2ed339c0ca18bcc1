"""Composer of the paper: a text-to-image model renders the prompt, and a detector finds the objects afterwards."""

from __future__ import annotations

from augmentation.composers.composed import ComposedScene
from augmentation.planning.scene_spec import SceneSpec
from generation.models.config import RenderConfig
from pipeline import Item, Rejected, Resources, Stage


class PromptedComposer(Stage[Item, ComposedScene]):
    """Stage that renders the prompt of each scene with the item's seed.

    Args:
        config: checkpoint and settings; its batch size is the stage's.
        negative_prompt: negative prompt of all scenes.
        num_gpus: GPUs of one worker.
    """

    name = "compose"

    def __init__(self, config: RenderConfig, *, negative_prompt: str = "", num_gpus: float = 0.0) -> None:
        self._config = config
        self._negative_prompt = negative_prompt
        self.batch_size = config.batch_size
        self.resources = Resources(num_cpus=1, num_gpus=num_gpus)

    def setup(self) -> None:
        from generation.models.text_to_image import Renderer

        self._renderer = Renderer(self._config)

    def process(self, items: list[Item]) -> list[ComposedScene | Rejected]:
        specs = [SceneSpec.from_payload(item.key, item.payload) for item in items]
        prompts, seeds = [spec.prompt for spec in specs], [item.seed for item in items]
        images = self._renderer.render(prompts, seeds, self._negative_prompt)
        return [
            ComposedScene(key=item.key, seed=item.seed, spec=spec, composer="prompted", image=image)
            for item, spec, image in zip(items, specs, images, strict=True)
        ]
