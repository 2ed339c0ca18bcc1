"""Write a gallery of runs: a folder of static HTML with filters, search, paging and keys.

    make gallery                                              # all runs of the miniature dataset
    make gallery RUN=data/miniature/scenes                    # one run: samples, scenes, priors, rounds, an evaluation
    make gallery RUN=runs/miniature-both/evaluation ARGS="--output gallery-of-both"

Open ``index.html`` of the folder, or serve the folder: ``python -m http.server --directory runs/gallery``. Hover over a
query, or tap it, to see its target. The page loads nothing from other servers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from rich.progress import track
from upath import UPath

from pipeline import PositiveInt, list_runs, open_plan
from trainer.evaluate import PREDICTIONS, read_predictions
from workflows.cli.console import UserError, console, print_path, run
from workflows.cli.paths import DatasetConfig, DatasetPaths
from workflows.gallery.entries import iterate_predictions, iterate_priors, iterate_rejected, iterate_samples
from workflows.gallery.site import Entry, write_gallery
from workflows.priors.config import find_prior_store_path

SAMPLES = {"ingest", "pack-samples", "pack-scenes", "scenes", "select-scenes"}
"""Names of the jobs that write samples."""


@dataclass(frozen=True, kw_only=True)
class GalleryConfig(DatasetConfig):
    """Runs of the gallery and its folder."""

    run: UPath | None = None
    """Run of samples or scenes, prior store, rounds of scenes, or evaluation; all runs of the dataset by default."""

    evaluation: Path | None = None
    """Evaluation to show if you pass no ``run``; ``runs/<dataset>-both/evaluation`` by default."""

    output: Path = Path("runs/gallery")
    """Folder of the page, ``index.html``, and its images."""

    max_entries: PositiveInt | None = None
    """Limit of entries per run."""


def main(config: GalleryConfig) -> None:
    """Write the gallery and print its path."""
    paths = config.paths
    runs = [config.run] if config.run else list(_find_runs(config, paths))
    if not runs:
        raise UserError(f"{config.data} has no run of the dataset {config.dataset}; ingest it first, or pass --run")
    entries = chain.from_iterable(islice(_iterate_entries(one, paths), config.max_entries) for one in runs)
    title = f"Gallery of {config.run or config.dataset}"
    tracked = track(entries, "drawing thumbnails", console=console, transient=True, total=None)
    total = write_gallery(tracked, config.output, title)
    console.print(f"{total:,} entries")
    print_path("gallery saved to", config.output / "index.html")


def _find_runs(config: GalleryConfig, paths: DatasetPaths) -> Iterator[UPath]:
    """Yield the existing runs of a dataset in the order of the pipeline."""
    samples = paths.evaluated
    if not list_runs(samples) and not list_runs(paths.scenes):
        return  # the prior store of other datasets shows nothing of this one
    yield from (
        one for one in (samples, find_prior_store_path(config.dataset, config.data), paths.scenes) if list_runs(one)
    )
    if list_runs(paths.scene_rounds / "rejected"):
        yield paths.scene_rounds
    evaluation = config.evaluation or Path("runs") / f"{config.dataset}-both" / "evaluation"
    if (evaluation / PREDICTIONS).is_file() and list_runs(samples):
        yield UPath(evaluation)


def _iterate_entries(folder: UPath, paths: DatasetPaths) -> Iterator[Entry]:
    """Return the entries of a run, by the kind of its folder.

    Raises:
        UserError: the folder is of no kind that a gallery shows.
    """
    if (folder / PREDICTIONS).is_file():
        return iterate_predictions(read_predictions(Path(str(folder))), paths.evaluated)
    if list_runs(folder / "rejected"):
        return iterate_rejected(folder)
    names = {open_plan(one).settings.name for one in list_runs(folder)}
    if names == {"priors"}:
        parsed = [run for source in ("samples", "scenes") for run in list_runs(paths.get_parsed_run(source))]
        return iterate_priors(folder, parsed, only_shared=bool(parsed))
    if len(names) == 1 and names <= SAMPLES:
        return iterate_samples(folder)
    raise UserError(
        f"{folder} cannot be shown ({', '.join(sorted(names)) or 'it contains no run'}); pass a "
        f"run of samples or scenes, a prior store, rounds of scenes, or an evaluation with its {PREDICTIONS}"
    )


if __name__ == "__main__":
    run(main, GalleryConfig, __doc__)
