"""Predict boxes for queries: JSON lines, and the images with their boxes.

    make predict                                                           # an example
    make predict IMAGE=photo.jpg QUERY="second cup from the left"
    python -m workflows.predict --image photo.jpg --query "left cup" "the red one" --prior none --maps
    python -m workflows.predict --image photos --query "dog"               # every image of a folder
    python -m workflows.predict --image photos --queries queries.jsonl     # {"image": "a.jpg", "query": "left cup"}

Priors are made as in training, by ``prior.json`` in or beside the checkpoint. ``--prior auto`` reads a prior from the
prior store and renders it if it is missing. ``cached`` never renders, and ``none`` uses no priors.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt
from rich.markup import escape
from upath import UPath

from generation.parsing.attributes import AttributeParser
from generation.parsing.normalization import is_empty
from generation.priors.config import PriorConfig, build_image_settings, compute_encoder_fingerprint, identify_prior
from generation.priors.generator import PriorGenerator
from generation.priors.prompt import build_prompt
from generation.priors.store import PriorStore
from pipeline import list_runs
from shards.sources.errors import format_value
from shards.sources.files import read_json_lines
from trainer.errors import TrainerError
from trainer.files import check_checkpoint, find_checkpoint, list_images
from workflows.cli.console import UserError, console, print_path, run
from workflows.cli.paths import DATA, get_prior_store_path
from workflows.miniature import EXAMPLE_IMAGE, EXAMPLE_QUERY
from workflows.priors.config import find_prior_file, load_prior_config
from workflows.visualization.annotated_images import draw_named_boxes
from workflows.visualization.attention_maps import draw_attention_overview

if TYPE_CHECKING:
    from trainer.predict import Grounder

PriorOrigin = Literal["auto", "cached", "none"]


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Images, queries and network."""

    image: Path = EXAMPLE_IMAGE
    """Image, or folder of images; by default an example of the miniature world."""

    query: tuple[str, ...] = ()
    """Queries about each image; by default one about the example."""

    queries: Path | None = None
    """JSON lines with ``image``, a file below the folder ``--image``, and ``query``."""

    checkpoint: Path = Path("miniature")
    """Folder of a network that training has saved; ``miniature``, the shipped network of the miniature world; or a hub
    id, ``org/name`` or ``org/name@revision``."""

    prior: PriorOrigin = "auto"
    """Origin of the priors: ``auto``, ``cached`` or ``none``, see above."""

    maps: bool = False
    """Whether to save the verification score and each stage's attention and box: ``<image>.<number>.maps.png``."""

    data: UPath = DATA
    """Folder of the prior store."""

    device: str = "auto"
    """Device of the network: ``cpu``, ``cuda``, or ``auto``, the GPU, or the CPU without one."""

    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    """Precision of the network; ``bf16`` and ``fp16`` are faster on GPUs."""

    output: Path = Path("runs/predictions")
    """Folder for the annotated images and ``predictions.jsonl``."""

    def __post_init__(self) -> None:
        if bool(self.chosen_query) == bool(self.queries):
            raise UserError("pass either --query or --queries, not both")

    @property
    def chosen_query(self) -> tuple[str, ...]:
        """Queries that were given, or that about the example."""
        is_example = self.image == EXAMPLE_IMAGE and not self.queries
        return self.query or ((EXAMPLE_QUERY,) if is_example else ())


@dataclass(frozen=True, kw_only=True)
class QueryPrior:
    """Prior of a query and its origin."""

    prompt: str
    origin: Literal["store", "generated", "none"]
    feature: npt.NDArray[Any] | None = None


class PriorSource:
    """Priors from the store, or rendered ones."""

    def __init__(self, config: PriorConfig, mode: PriorOrigin, data: UPath) -> None:
        self._config, self._mode = config, mode
        store = get_prior_store_path(compute_encoder_fingerprint(config), data)
        self._store = PriorStore.open(store) if list_runs(store) else None
        self._settings = build_image_settings(config)
        self._parser = AttributeParser()

    @cached_property
    def _generator(self) -> PriorGenerator:
        return PriorGenerator(self._config)

    def __call__(self, query: str) -> QueryPrior:
        prompt = build_prompt(self._parser.parse([query])[0], self._config.prompt)
        name = identify_prior(prompt, self._config, self._settings)
        if self._store is not None and name in self._store:
            return QueryPrior(prompt=prompt.text, origin="store", feature=self._store.features([name])[0])
        if self._mode == "cached":
            return QueryPrior(prompt=prompt.text, origin="none")
        return QueryPrior(prompt=prompt.text, origin="generated", feature=self._generator(query).feature)


def main(config: PredictConfig) -> None:
    """Print a JSON line for each image and query, and save the images with their boxes.

    Raises:
        UserError: an image cannot be read; the other images are answered.
    """
    queries_by_image = read_queries(config)
    checkpoint = find_checkpoint(config.checkpoint)
    check_checkpoint(checkpoint)
    from trainer.predict import Grounder

    grounder = Grounder.from_pretrained(checkpoint, config.device, config.mixed_precision)
    uses_priors = config.prior != "none" and grounder.network.config.use_prior
    prior_config = load_prior_config(find_prior_file(checkpoint)) if uses_priors else None
    priors = PriorSource(prior_config, config.prior, config.data) if prior_config else None
    config.output.mkdir(parents=True, exist_ok=True)
    failed: list[TrainerError] = []
    unseen: dict[str, str] = {}
    with (config.output / "predictions.jsonl").open("w", encoding="utf-8") as lines:
        for image, queries in queries_by_image.items():
            records: Iterable[dict[str, Any]]
            try:
                records = predict_image(grounder, priors, image, queries, config)
            except TrainerError as error:
                failed.append(error)
                records = [{"image": str(image), "query": query, "error": str(error)} for query in queries]
            for record in records:
                line = json.dumps(record, ensure_ascii=False)
                print(line)
                lines.write(line + "\n")
                if record.get("unseen_words"):
                    unseen[record["query"]] = ", ".join(record["unseen_words"])
    for query, words in unseen.items():
        console.print(
            f"[yellow]unseen words:[/] the training data of this network never had {escape(words)} "
            f"({escape(query)}); do not rely on the box",
            soft_wrap=True,
        )
    if len(failed) < len(queries_by_image):
        print_path("annotated images and predictions saved to", config.output)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(queries_by_image)} images have no answer, see predictions.jsonl: {failed[0]}"
        )


def read_queries(config: PredictConfig) -> Mapping[Path, Sequence[str]]:
    """Return the queries of each image.

    Raises:
        UserError: a query is empty, or a file is missing or malformed; the message names the row.
    """
    if config.queries is not None:
        return read_query_file(config.image, config.queries, "--image")
    for query in config.chosen_query:
        _check_query(query, "--query")
    return dict.fromkeys(list_images(config.image), config.chosen_query)


def read_query_file(folder: Path, queries: Path, option: str) -> Mapping[Path, Sequence[str]]:
    """Return the queries of each image from JSON lines.

    Args:
        folder: folder of the images.
        queries: file of JSON lines.
        option: command line option of the folder, for messages.

    Raises:
        UserError: a query is empty, or an image is missing; the message names the row.
        SourceError: the file is missing or malformed; the message names the row.
    """
    if not queries.is_file():
        raise UserError(f'{queries} does not exist; it needs lines {{"image": "a.jpg", "query": "left cup"}}')
    result: dict[Path, list[str]] = defaultdict(list)
    for where, _, record in read_json_lines(queries):
        if not {"image", "query"} <= record.keys():
            raise UserError(f'{where}: expected {{"image": "a.jpg", "query": "left cup"}}, got {format_value(record)}')
        _check_query(record["query"], where)
        result[_resolve_image(folder, record["image"], where, option)].append(record["query"])
    if not result:
        raise UserError(f"{queries} is empty; it needs a line per query")
    return result


def _check_query(query: Any, where: str) -> None:
    if not isinstance(query, str) or is_empty(query):
        raise UserError(f'{where}: the query is empty; describe an object: "second cup from the left"')


def _resolve_image(folder: Path, name: Any, where: str, option: str) -> Path:
    path = (folder / str(name)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise UserError(f"{where}: {name!r} is outside {folder}; name a file below it")
    if not path.is_file():
        raise UserError(f"{where}: {path} does not exist; {option} is the folder of the images")
    return path


def predict_image(
    grounder: Grounder, priors: PriorSource | None, path: Path, queries: Sequence[str], config: PredictConfig
) -> list[dict[str, Any]]:
    """Return a record per query; the image is encoded once for all of them.

    Raises:
        TrainerError: the image cannot be read.
    """
    from trainer.explain import explain
    from trainer.predict import open_image

    image = open_image(path)
    started = time.monotonic()
    query_priors = [priors(query) if priors else QueryPrior(prompt="", origin="none") for query in queries]
    prior_s, started = time.monotonic() - started, time.monotonic()
    grounder.set_image(image)
    result = grounder.predict_all(queries, [prior.feature for prior in query_priors])
    seconds = {"priors": round(prior_s, 3), "network": round(time.monotonic() - started, 3)}
    named = [(one.box_xyxy, f"{one.query}: {one.describe_confidence()}") for one in result]
    named += [(other.box_xyxy, f"{one.query}: {other.score:.0%}") for one in result for other in one.boxes[1:]]
    drawing = config.output / (
        path.name if path == config.image else path.resolve().relative_to(config.image.resolve())
    )
    drawing.parent.mkdir(parents=True, exist_ok=True)  # images of the same name lie in folders of their own
    draw_named_boxes(image, named).save(drawing.with_name(f"{path.name}.predicted.png"))
    for number, (query, prior) in enumerate(zip(queries, query_priors, strict=True) if config.maps else ()):
        sheet = draw_attention_overview(image, explain(grounder, query, prior.feature))
        sheet.save(drawing.with_name(f"{path.name}.{number}.maps.png"))
    return [
        {
            "image": str(path),
            "query": prediction.query,
            "box_xyxy": [round(value, 1) for value in prediction.box_xyxy],
            "score": round(prediction.score, 3),
            "presence": None if prediction.presence is None else round(prediction.presence, 3),
            "boxes": [
                {"box_xyxy": [round(value, 1) for value in one.box_xyxy], "score": round(one.score, 3)}
                for one in prediction.boxes
            ],
            "unseen_words": list(prediction.unseen_words),
            "prior": prior.origin,
            "prompt": prior.prompt or None,
            "seconds_of_image": seconds,
        }
        for prediction, prior in zip(result, query_priors, strict=True)
    ]


if __name__ == "__main__":
    run(main, PredictConfig, __doc__)
