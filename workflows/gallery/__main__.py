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

from pipeline.plan import open_plan
from pipeline.receipts import runs_below
from trainer.evaluate import PREDICTIONS, read_judgements
from workflows.cli.console import UserError, console, lies_in, run
from workflows.cli.paths import DATA, DatasetFolders, folders
from workflows.gallery.entries import of_predictions, of_priors, of_rejected, of_samples
from workflows.gallery.site import Entry, write_gallery
from workflows.priors.config import prior_store_of

SAMPLES = {"ingest", "pack-samples", "pack-scenes", "scenes", "select-scenes"}
"""Names of jobs that write samples."""


@dataclass(frozen=True, kw_only=True)
class GalleryConfig:
    """What is shown, and where the folder goes."""

    run: UPath | None = None
    """A run of samples or scenes, a prior store, the rounds of scenes, or an evaluation; where not given, all of the
    data set that there is."""

    dataset: str = "miniature"
    """Of which the pictures are that an evaluation is about."""

    data: UPath = DATA
    evaluation: Path | None = None
    """Shown where no ``run`` is given; that of ``runs/<dataset>-both`` by default, if there is one."""

    output: Path = Path("runs/gallery")
    most: int | None = None
    """Entries of each run, at most."""

    def __post_init__(self) -> None:
        if self.most is not None and self.most < 1:
            raise ValueError(f"most must be at least 1, got {self.most}")


def main(config: GalleryConfig) -> None:
    """Write the folder and say where to look."""
    place = folders(config.dataset, config.data)
    runs = [config.run] if config.run else list(_everything(config, place))
    if not runs:
        raise UserError(f"there is nothing of {config.dataset} in {config.data} yet; run `make demo`, or name a run")
    entries = chain.from_iterable(islice(_entries(one, place), config.most) for one in runs)
    title = f"{config.run or config.dataset}"
    shown = track(entries, "drawing thumbnails", console=console, transient=True, total=None)
    total = write_gallery(shown, config.output, title)
    console.print(f"{total:,} entries")
    lies_in("the gallery", config.output / "index.html")


def _everything(config: GalleryConfig, place: DatasetFolders) -> Iterator[UPath]:
    """What there is of a data set, in the order in which it was made."""
    samples = place.evaluated
    yield from (one for one in (samples, prior_store_of(config.dataset, config.data), place.scenes) if runs_below(one))
    if runs_below(place.scene_rounds / "rejected"):
        yield place.scene_rounds
    evaluation = config.evaluation or Path("runs") / f"{config.dataset}-both" / "evaluation"
    if (evaluation / PREDICTIONS).is_file() and runs_below(samples):
        yield UPath(evaluation)


def _entries(folder: UPath, place: DatasetFolders) -> Iterator[Entry]:
    """By what lies in the folder.

    Raises:
        UserError: none of the kinds that can be shown.
    """
    if (folder / PREDICTIONS).is_file():
        return of_predictions(read_judgements(Path(str(folder))), place.evaluated)
    if runs_below(folder / "rejected"):
        return of_rejected(folder)
    names = {open_plan(one).settings.name for one in runs_below(folder)}
    if names == {"priors"}:
        return of_priors(folder, [one for of in ("samples", "scenes") if runs_below(one := place.packed(of))])
    if len(names) == 1 and names <= SAMPLES:
        return of_samples(folder)
    raise UserError(
        f"{folder} is none of what a gallery shows ({', '.join(sorted(names)) or 'no run lies there'}); name a "
        f"run of samples or scenes, a prior store, rounds of scenes, or an evaluation with its {PREDICTIONS}"
    )


if __name__ == "__main__":
    run(main, GalleryConfig, __doc__)
