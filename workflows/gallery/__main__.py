"""Everything that was made, to look at: a folder of static HTML with filters, search, paging and keys.

    make gallery                                              # all that there is of the miniature data set
    make gallery RUN=data/miniature/scenes                    # one: samples, scenes, priors, rounds, an evaluation
    make gallery RUN=runs/miniature-both/evaluation ARGS="--output gallery-of-both"

Open ``index.html`` of the folder, or serve it: ``python -m http.server --directory runs/gallery``. Hovering over a
query, or tapping it, shows its target. Nothing is fetched from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from rich.progress import track
from upath import UPath

from pipeline import list_runs, open_plan
from trainer.evaluate import PREDICTIONS, read_predictions
from workflows.cli.console import UserError, console, print_path, run
from workflows.cli.paths import DATA, DatasetPaths, get_dataset_paths
from workflows.gallery.entries import iterate_predictions, iterate_priors, iterate_rejected, iterate_samples
from workflows.gallery.site import Entry, write_gallery
from workflows.priors.config import find_prior_store_path

SAMPLES = {"ingest", "pack-samples", "pack-scenes", "scenes", "select-scenes"}
"""Names of jobs that write samples."""


@dataclass(frozen=True, kw_only=True)
class GalleryConfig:
    """What is shown, and where the folder goes."""

    run: UPath | None = None
    """A run of samples or scenes, a prior store, the rounds of scenes, or an evaluation; where not given, all of the
    data set that there is."""

    dataset: str = "miniature"
    """Of which the images are that an evaluation is about."""

    data: UPath = DATA
    evaluation: Path | None = None
    """Shown where no ``run`` is given; that of ``runs/<dataset>-both`` by default, if there is one."""

    output: Path = Path("runs/gallery")
    max_entries: int | None = None
    """Entries of each run, at most."""

    def __post_init__(self) -> None:
        if self.max_entries is not None and self.max_entries < 1:
            raise ValueError(f"max_entries must be at least 1, got {self.max_entries}")


def main(config: GalleryConfig) -> None:
    """Write the folder and say where to look."""
    paths = get_dataset_paths(config.dataset, config.data)
    runs = [config.run] if config.run else list(_find_runs(config, paths))
    if not runs:
        raise UserError(f"there is nothing of {config.dataset} in {config.data} yet; run `make demo`, or name a run")
    entries = chain.from_iterable(islice(_iterate_entries(one, paths), config.max_entries) for one in runs)
    title = f"{config.run or config.dataset}"
    tracked = track(entries, "drawing thumbnails", console=console, transient=True, total=None)
    total = write_gallery(tracked, config.output, title)
    console.print(f"{total:,} entries")
    print_path("the gallery", config.output / "index.html")


def _find_runs(config: GalleryConfig, paths: DatasetPaths) -> Iterator[UPath]:
    """What there is of a data set, in the order in which it was made."""
    samples = paths.evaluated
    yield from (
        one for one in (samples, find_prior_store_path(config.dataset, config.data), paths.scenes) if list_runs(one)
    )
    if list_runs(paths.scene_rounds / "rejected"):
        yield paths.scene_rounds
    evaluation = config.evaluation or Path("runs") / f"{config.dataset}-both" / "evaluation"
    if (evaluation / PREDICTIONS).is_file() and list_runs(samples):
        yield UPath(evaluation)


def _iterate_entries(folder: UPath, paths: DatasetPaths) -> Iterator[Entry]:
    """By what lies in the folder.

    Raises:
        UserError: none of the kinds that can be shown.
    """
    if (folder / PREDICTIONS).is_file():
        return iterate_predictions(read_predictions(Path(str(folder))), paths.evaluated)
    if list_runs(folder / "rejected"):
        return iterate_rejected(folder)
    names = {open_plan(one).settings.name for one in list_runs(folder)}
    if names == {"priors"}:
        return iterate_priors(
            folder, [one for source in ("samples", "scenes") if list_runs(one := paths.get_packed_run(source))]
        )
    if len(names) == 1 and names <= SAMPLES:
        return iterate_samples(folder)
    raise UserError(
        f"{folder} is none of what a gallery shows ({', '.join(sorted(names)) or 'no run lies there'}); name a "
        f"run of samples or scenes, a prior store, rounds of scenes, or an evaluation with its {PREDICTIONS}"
    )


if __name__ == "__main__":
    run(main, GalleryConfig, __doc__)
