"""Are the queries of generated scenes true? Scenes whose truth is known say so, beside the rules of Pseudo-Q.

    make benchmark NAME=scenes                                                     # the miniature world
    make benchmark NAME=scenes ARGS="--scenes 2500 --pasted-only"                  # its pasted scenes alone
    make benchmark NAME=scenes ARGS="--real FOLDER --detector cutout-detector"     # also real cut-outs and queries

Pasted scenes know what is in them and where. They are labeled twice: as ``augment`` does it, which takes the objects
that the detector sees as they were pasted, and as if a model had rendered them. Then everything is compared with the
truth: counts, boxes, attributes, and every query's program, which is run anew on the true boxes. As if rendered, no
stage saw the truth. Queries with no target are false if anything true could be meant, and those with several if the
true set is another. Of drawn scenes the number of objects is counted without a learned model, by connected
components. Phrases of the three styles stand beside the queries of real validation splits. Prints tables and writes
the figures as JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any, get_args

from PIL import Image
from rich.console import Console
from rich.table import Table

from augmentation.composers.composed import ComposedScene
from augmentation.composers.cutouts import CutoutFolder
from augmentation.composers.pasted import PastedComposer, PastedConfig
from augmentation.composers.prompted import PromptedComposer
from augmentation.detection.attribute_classifier import AttributeClassifierConfig, AttributeClassifierStage
from augmentation.detection.box_fitting import FitBoxesStage
from augmentation.detection.config import DetectorConfig
from augmentation.detection.detected import DetectedScene
from augmentation.detection.detector import Detector, DetectStage
from augmentation.detection.ground_truth import GroundTruthStage
from augmentation.detection.matching import match_objects
from augmentation.detection.scene_filters import SceneFilterConfig
from augmentation.planning.scene_spec import Composer, make_scene_specs, make_uniform_requests
from augmentation.planning.vocabulary import QUANTIFIERS, VocabularyConfig
from augmentation.queries.generator import enumerate_programs, find_interpretations
from augmentation.queries.labeling import LabelConfig, LabelStage, build_scene
from augmentation.queries.realizer import PhraseRealizer
from augmentation.queries.templates import Style
from augmentation.relations.evaluator import ProgramEvaluator
from augmentation.relations.possibility import PossibilityEvaluator
from augmentation.relations.programs import from_json
from augmentation.relations.scene import NO_ATTRIBUTE, Scene, SceneObject
from pipeline import Item, MapStage, Rejected, Stage
from shards.schema import Sample
from workflows import cut_out
from workflows.cli.console import configure_library_logging
from workflows.miniature.models.attribute_classifier import count_objects
from workflows.miniature.world import cutouts as miniature_cutouts
from workflows.presets import miniature
from workflows.reports.query_statistics import compare_texts, print_words
from workflows.study.pseudo_q import find_ambiguous, generate_pseudo_queries

console = Console()

REAL_SPLITS = {
    "refcoco": "refcoco_val.joined.jsonl.gz",
    "refcoco+": "refcoco_plus_val.joined.jsonl.gz",
    "refcocog": "refcocog_umd_val.joined.jsonl.gz",
}


@dataclass(kw_only=True)
class SceneOutcome:
    """One scene, as far as it came."""

    composed: ComposedScene | None = None
    found: DetectedScene | None = None
    """Detections before their boxes were fitted."""

    detected: DetectedScene | None = None
    sample: Sample | None = None
    rejected: Rejected | None = None


class HideTruthStage(MapStage[ComposedScene, ComposedScene]):
    """Stage that makes pasted scenes look like those of a model, whose objects later stages do not know."""

    name = "hide"

    def process_item(self, item: ComposedScene) -> ComposedScene:
        return replace(item, composer="layout", contacts=None)


@dataclass(kw_only=True)
class Run:
    """Scenes, and the seconds that each stage took."""

    made: list[SceneOutcome]
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=1000, help="scenes of each kind to ask for")
    parser.add_argument("--real", type=Path, help="folder with coco/ and the joined validation splits")
    parser.add_argument("--detector", help="one that knows real cut-outs, as benchmarks.cutout_detector trains it")
    parser.add_argument("--pasted-only", action="store_true", help="only pasted scenes of the miniature world")
    parser.add_argument("--style", default="refcoco", help="style of the verified queries")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/scenes.json"))
    options = parser.parse_args()
    configure_library_logging()
    figures: dict[str, Any] = {}
    with TemporaryDirectory() as scratch:
        label = LabelConfig(style=options.style, targets=("one", "several", "none"))
        composer, vocabulary = make_miniature_composer(Path(scratch))
        items = make_items(vocabulary, "pasted", options.scenes)
        stages = [*_build_detection_stages(vocabulary), _make_label_stage(vocabulary, label)]
        pasted = run_stages([composer, *stages], items)
        figures["miniature, pasted"] = compare_with_truth(pasted, vocabulary, label, has_attributes=True)
        as_rendered = run_stages([composer, HideTruthStage(), *stages], items)
        figures["miniature, as if rendered"] = compare_with_truth(as_rendered, vocabulary, label, has_attributes=True)
        if not options.pasted_only:
            figures["miniature, prompted"] = compare_counts(run_miniature_prompted(options.scenes))
        texts = {style: realize_queries(pasted, vocabulary, style) for style in get_args(Style)}
        if options.real:
            for detector in [None, options.detector] if options.detector else [None]:
                run, real_vocabulary = run_real_pasted(options.real, Path(scratch), options.scenes, detector, label)
                kind = "found" if detector else "as pasted"
                figures[f"real cut-outs, {kind}"] = compare_with_truth(
                    run, real_vocabulary, label, has_attributes=False
                )
        figures["words"] = compare_with_real(texts, options.real)
    for name, table in figures.items():
        if name == "words":
            print_words(table)
        else:
            print_table(name, table)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=1) + "\n")


def make_items(vocabulary: VocabularyConfig, composer: Composer, count: int) -> list[Item]:
    """Make items of evenly spread scenes, each with its own seed."""
    specs = make_scene_specs(vocabulary, make_uniform_requests(vocabulary, count, 0, composer), 0, composer=composer)
    return [
        Item(key=spec.key, seed=Random(f"benchmark/{spec.key}").getrandbits(63), payload=spec.to_payload())
        for spec in specs
    ]


def make_miniature_composer(scratch: Path) -> tuple[PastedComposer, VocabularyConfig]:
    """Make the composer of pasted scenes of two to eight objects; it cuts its objects out into ``scratch``."""
    folders = {name: scratch / name for name in ("cutouts", "backgrounds")}
    miniature_cutouts.main(miniature_cutouts.MiniatureCutoutsConfig(**folders))
    vocabulary = replace(miniature.vocabulary(), quantifiers=tuple(QUANTIFIERS))
    return PastedComposer(replace(miniature.pasted_config(), **folders)), vocabulary


def run_miniature_prompted(count: int) -> Run:
    vocabulary = miniature.vocabulary()
    composer = PromptedComposer(miniature.render_config())
    stages = [composer, *_build_detection_stages(vocabulary), LabelStage(plurals=vocabulary.categories)]
    return run_stages(stages, make_items(vocabulary, "prompted", count))


def _make_label_stage(vocabulary: VocabularyConfig, label: LabelConfig, *, is_detected: bool = True) -> LabelStage:
    detectable = vocabulary.categories if is_detected else ()
    return LabelStage(label, vocabulary.categories, vocabulary.nouns, vocabulary.attributes, detectable)


def _build_detection_stages(vocabulary: VocabularyConfig) -> list[Stage[Any, Any]]:
    encoder = miniature.prior_config().encoder
    return [
        DetectStage(miniature.detector_config(), vocabulary),
        FitBoxesStage(plain_background=True),
        AttributeClassifierStage(AttributeClassifierConfig(), encoder, vocabulary),
    ]


def run_real_pasted(
    real: Path, scratch: Path, count: int, detector: str | None, label: LabelConfig
) -> tuple[Run, VocabularyConfig]:
    """Cut-outs of COCO on its images; of the categories that the detector knows, or of all and as pasted."""
    coco, folder = real / "coco", scratch / "real-cutouts"
    source = cut_out.CocoConfig(instances=coco / "instances.json", images=coco / "images", output=folder)
    cut_out.main(cut_out.CutOutConfig(source=source))
    cutouts = CutoutFolder(folder)
    config = DetectorConfig(checkpoint=detector) if detector else None
    names = _find_known_categories(config, cutouts)
    vocabulary = VocabularyConfig(categories={name: _make_plural(name) for name in names})
    pasted = PastedConfig(cutouts=folder, backgrounds=coco / "images", instances=coco / "instances.json")
    detect = [DetectStage(config, vocabulary) if config else GroundTruthStage(vocabulary)]
    stages = [PastedComposer(pasted), *detect, _make_label_stage(vocabulary, label, is_detected=bool(config))]
    return run_stages(stages, make_items(vocabulary, "pasted", count)), vocabulary


def _find_known_categories(config: DetectorConfig | None, cutouts: CutoutFolder) -> list[str]:
    if config is None:
        return cutouts.categories

    return sorted(set(Detector(config).categories) & set(cutouts.categories))


def _make_plural(name: str) -> str:
    irregular = {"person": "people", "sheep": "sheep", "mouse": "mice", "skis": "skis", "scissors": "scissors"}
    ending = "es" if name.endswith(("s", "ch", "sh", "x")) else "s"
    return irregular.get(name, name + ending)


def run_stages(stages: Sequence[Stage[Any, Any]], items: list[Item]) -> Run:
    """Every item through the stages in batches, timed; loading is not."""
    for stage in stages:
        stage.setup()
    made: dict[str, SceneOutcome] = {item.key: SceneOutcome() for item in items}
    run, flowing = Run(made=list(made.values())), list[Any](items)
    for stage in stages:
        started, results = time.perf_counter(), list[Any]()
        for start in range(0, len(flowing), stage.batch_size):
            results += stage.process(flowing[start : start + stage.batch_size])
        run.seconds[stage.name] += time.perf_counter() - started
        for result in results:
            _record_result(made[result.key], result)
        flowing = [result for result in results if not isinstance(result, Rejected)]
        console.print(f"{stage.name}: {len(flowing)} of {len(items)} scenes, {run.seconds[stage.name]:.1f} s")
    return run


def _record_result(made: SceneOutcome, result: Any) -> None:
    match result:
        case Rejected():
            made.rejected = result
        case ComposedScene():
            made.composed = result
        case DetectedScene():
            made.found, made.detected = made.found or result, result
        case Sample():
            made.sample = result


def summarize_yield(run: Run) -> dict[str, Any]:
    """Summarize yield and time of the scenes."""
    accepted = [made.sample for made in run.made if made.sample]
    queries = sum(len(query.boxes_xyxy) == 1 for sample in accepted for query in sample.queries)
    seconds = sum(run.seconds.values())
    reasons = Counter(made.rejected.reason for made in run.made if made.rejected)
    return {
        "attempted": len(run.made),
        "accepted": len(accepted),
        "rejected share": 1 - len(accepted) / len(run.made),
        "rejected": dict(reasons.most_common()),
        "queries": queries,
        "accepted scenes per second": len(accepted) / seconds,
        "queries per second": queries / seconds,
        "seconds": {name: round(value, 1) for name, value in run.seconds.items()},
    }


def compare_with_truth(
    run: Run, vocabulary: VocabularyConfig, label: LabelConfig, has_attributes: bool
) -> dict[str, Any]:
    """Compute the figures of scenes with known objects."""
    wording, tally = label.make_realizer(vocabulary.categories, vocabulary.nouns), Tally()
    for made in run.made:
        if made.sample and made.found and made.detected and made.composed:
            tally.ious += [pair.iou for pair in match_objects(made.composed.requested, made.found.detections)]
            tally.add(made.detected, made.sample, build_true_scene(made.composed, vocabulary, has_attributes), wording)
    return {**summarize_yield(run), **tally.compute_figures()}


def build_true_scene(composed: ComposedScene, vocabulary: VocabularyConfig, has_attributes: bool) -> Scene:
    """Build the scene as it was pasted."""
    height, width = composed.image.shape[:2]

    def get_attributes(requested: SceneObject) -> dict[str, str]:
        kinds = vocabulary.attributes.items() if has_attributes else ()
        return {
            kind: requested.attributes[kind] if requested.attributes[kind] in words else NO_ATTRIBUTE
            for kind, words in kinds
        }

    objects = (
        SceneObject(box_xyxy=one.box_xyxy, category=one.category, attributes=get_attributes(one))
        for one in composed.requested
    )
    depth = composed.spec.arrangement == "depth"
    return Scene(
        width=width,
        height=height,
        objects=tuple(objects),
        perspective=depth,
        contacts=composed.contacts or (),
        placed=frozenset(range(len(composed.requested))),
    )


@dataclass(kw_only=True)
class Tally:
    """Counts over accepted scenes."""

    right_counts: list[bool] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)
    attributes: list[bool] = field(default_factory=list)
    ours: list[str] = field(default_factory=list)
    """``true``, ``false`` or ``find_ambiguous``, of each query."""

    theirs: list[str] = field(default_factory=list)
    """The same of queries by the rules of Pseudo-Q, in the same scenes."""

    absent: list[str] = field(default_factory=list)
    """``true`` or ``false``, of each query without a target."""

    sets: list[str] = field(default_factory=list)
    """``true`` or ``false``, of each query with several targets."""

    false: list[str] = field(default_factory=list)

    def add(self, detected: DetectedScene, sample: Sample, truth: Scene, wording: PhraseRealizer) -> None:
        category = detected.category
        pairs = {pair.detection_index: pair for pair in match_objects(detected.composed.requested, detected.detections)}
        detections, there = (
            [one.category for one in some].count(category) for some in (detected.detections, truth.objects)
        )
        self.right_counts.append(detections == there)
        for i, pair in pairs.items():
            known = truth.objects[pair.requested_index].attributes
            self.attributes += [known[kind] == fact for kind, fact in detected.detections[i].attributes.items()]
        target = {i: pair.requested_index for i, pair in pairs.items()}
        self._add_ours(sample, truth, category, wording, target)
        self._add_theirs(detected, truth, category, target)

    def _add_ours(
        self, sample: Sample, truth: Scene, category: str, wording: PhraseRealizer, target: dict[int, int]
    ) -> None:
        evaluator, possible = ProgramEvaluator(truth), PossibilityEvaluator(truth)
        interpreted = find_interpretations(evaluator, enumerate_programs(truth, category, wording.plurals), wording)
        for query in sample.queries:
            program = from_json(query.program or {})
            targets = frozenset(target.get(i, -1) for i in query.instances or ())
            outcomes = self.ours if len(query.boxes_xyxy) == 1 else self.sets if targets else self.absent
            is_true = evaluator.evaluate(program) == targets if targets else not possible.evaluate(program)
            is_ambiguous = len(targets) == 1 and interpreted.get(query.text, set()) - {targets}
            outcomes.append("ambiguous" if is_true and is_ambiguous else "true" if is_true else "false")
            if not is_true:
                self.false.append(f"{sample.key}: {query.text}")

    def _add_theirs(self, detected: DetectedScene, truth: Scene, category: str, target: dict[int, int]) -> None:
        queries = generate_pseudo_queries(build_scene(detected, SceneFilterConfig().min_requested_iou), category)
        unclear, right = find_ambiguous(queries), set(generate_pseudo_queries(truth, category))
        for text, i in queries:
            is_right = (text, target.get(i, -1)) in right
            self.theirs.append("ambiguous" if text in unclear else "true" if is_right else "false")

    def compute_figures(self) -> dict[str, Any]:
        def compute_share(outcomes: list[str], outcome: str) -> float:
            return outcomes.count(outcome) / len(outcomes) if outcomes else 0.0

        return {
            "right count": mean(self.right_counts) if self.right_counts else 0.0,
            "mean IoU of found and true boxes": mean(self.ious) if self.ious else 0.0,
            "attributes right": mean(self.attributes) if self.attributes else None,
            "queries true": compute_share(self.ours, "true"),
            "queries ambiguous": self.ours.count("ambiguous"),
            "queries false": self.ours.count("false"),
            "queries without a target": len(self.absent),
            "queries without a target false": self.absent.count("false"),
            "queries with several targets": len(self.sets),
            "queries with several targets false": self.sets.count("false"),
            "Pseudo-Q's queries": len(self.theirs),
            "Pseudo-Q's queries true": compute_share(self.theirs, "true"),
            "Pseudo-Q's queries ambiguous": compute_share(self.theirs, "ambiguous"),
            "false": self.false[:20],
        }


def compare_counts(run: Run) -> dict[str, Any]:
    """Compute the figures of rendered scenes, whose objects are counted by connected components."""
    accepted = [made.detected for made in run.made if made.sample and made.detected]
    agree = [count_objects(Image.fromarray(one.composed.image)) == len(one.detections) for one in accepted]
    requested = [
        [each.category for each in one.detections].count(one.category) == one.composed.spec.count for one in accepted
    ]
    return {
        **summarize_yield(run),
        "right count": mean(agree) if agree else 0.0,
        "as many as asked for": mean(requested) if requested else 0.0,
    }


def realize_queries(run: Run, vocabulary: VocabularyConfig, style: Style) -> list[str]:
    """Realize the queries of the scenes in a style."""
    stage = LabelStage(LabelConfig(style=style), vocabulary.categories)
    stage.setup()
    detected = [made.detected for made in run.made if made.sample and made.detected]
    samples = [one for one in stage.process(detected) if isinstance(one, Sample)]
    return [query.text for sample in samples for query in sample.queries]


def compare_with_real(texts: dict[Style, list[str]], real: Path | None) -> dict[str, Any]:
    """Length and words of each style's queries, and of equally many real ones."""
    figures: dict[str, Any] = {}
    for style, ours in texts.items():
        theirs = list(read_real_queries(real / REAL_SPLITS[style])) if real else []
        figures |= compare_texts({style: ours, f"{style}, real val": theirs})
    return figures


def read_real_queries(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from (str(json.loads(line)["query"]) for line in lines)


def print_table(name: str, figures: dict[str, Any]) -> None:
    table = Table("", "", title=name, show_header=False)
    for row, value in figures.items():
        listed = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else _format_value(value)
        table.add_row(row, listed)
    console.print(table)


def _format_value(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
