"""Ground a phrase in a picture: the prior is drawn, encoded and given to the network.

make predict IMAGE=photo.jpg QUERY="second cup from the left"

The prior is made as in training: by ``prior.json`` beside the checkpoint.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from generation.generator import PriorGenerator
from generation.wording import is_empty
from trainer.predict import Grounder, Prediction, opened
from workflows.console import UserError, lies_in, run
from workflows.prior_config import load_prior_config


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Which picture, which phrase, which network."""

    image: Path
    query: str
    checkpoint: Path = Path("runs/miniature-both/best")
    use_prior: bool = True
    """False: leave the prior out, which is faster."""

    output: Path = Path("runs/predictions")
    """Folder for the annotated picture and the prior."""


def main(config: PredictConfig) -> None:
    """Print the box as one JSON line and draw it."""
    if is_empty(config.query):
        raise UserError('the query is empty; say which thing you mean: QUERY="second cup from the left"')
    picture = opened(config.image)
    grounder = Grounder.from_pretrained(config.checkpoint)
    config.output.mkdir(parents=True, exist_ok=True)
    stem = config.output / config.image.stem
    started, prompt, feature = time.monotonic(), None, None
    if config.use_prior and grounder.network.config.use_prior:
        prior = PriorGenerator(load_prior_config(config.checkpoint.parent / "prior.json"))(config.query)
        prompt, feature = prior.prompt, prior.feature
        Image.fromarray(prior.image).save(stem.with_suffix(".prior.png"))
    prior_s, started = time.monotonic() - started, time.monotonic()
    prediction = grounder.predict(picture, config.query, feature)
    seconds = {"prior": round(prior_s, 2), "network": round(time.monotonic() - started, 2)}
    annotated(picture, prediction).save(stem.with_suffix(".predicted.png"))
    box = [round(value, 1) for value in prediction.box_xyxy]
    print(json.dumps({"query": config.query, "box_xyxy": box, "prompt": prompt, "seconds": seconds}))
    lies_in("the annotated picture", stem.with_suffix(".predicted.png"))


def annotated(picture: Image.Image, prediction: Prediction) -> Image.Image:
    """The picture with its box, at least 320 pixels wide."""
    zoom = max(1, round(320 / picture.width))
    shown = picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)
    box = tuple(value * zoom for value in prediction.box_xyxy)
    ImageDraw.Draw(shown).rectangle(box, outline=(255, 0, 90), width=max(2, shown.width // 160))
    return shown


if __name__ == "__main__":
    run(main, PredictConfig, __doc__)
