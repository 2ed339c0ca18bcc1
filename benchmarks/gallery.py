"""Measure a gallery of 100,000 entries in a real browser: first image, filters, search, sorting, pages.

    make benchmark NAME=gallery                       # needs Debian's chromium; two minutes
    make benchmark NAME=gallery ARGS="--entries 5000 --keep /tmp/gallery"

Entries share a few drawn images, and each has three queries. The page is opened as a file with an empty profile. It
measures the time from a click to the new tiles itself. Prints a table and writes the figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.trainer_data import make_image, sample_query
from workflows.gallery.site import Entry, Line, Mark, write_gallery

console = Console()
CATEGORIES = ("cup", "dog", "bus", "kite", "zebra", "orange")
RELATIONS = ("ordinal", "extreme", "nearest", "between", "region")
NUM_IMAGES = 40

TIMED = """
async ([id, value]) => {
  const found = document.getElementById("matches"), before = found.textContent;
  const changed = new Promise((resolve) => new MutationObserver(resolve).observe(found, { childList: true }));
  const started = performance.now(), one = document.getElementById(id);
  one.value = value;
  one.dispatchEvent(new Event(one.tagName === "SELECT" ? "change" : "input"));
  await changed;
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  return [performance.now() - started, before, found.textContent];
}
"""
"""Script that measures milliseconds from a change of a filter until its tiles are painted."""


def make_entries(count: int) -> Iterator[Entry]:
    for number in range(count):
        random = Random(number)
        category = random.choice(CATEGORIES)
        boxes = [(x, y, x + 90.0, y + 70.0) for x, y in ((40.0, 60.0), (260.0, 200.0), (480.0, 330.0))]
        yield Entry(
            key=f"entry-{number:06d}",
            facts=f"train, 3 {category}",
            image=make_image(number % NUM_IMAGES),
            marks=tuple(Mark(box_xyxy=box, role="object", label=category) for box in boxes),
            lines=tuple(Line(text=sample_query(random), note="ordinal(category)", marks=(i,)) for i in range(3)),
            choices={
                "kind": [random.choice(("scene", "sample"))],
                "split": [random.choice(("train", "val", "testA"))],
                "category": [category],
                "relation": random.sample(RELATIONS, 2),
            },
            numbers={"count": random.randint(2, 8), "score": random.random(), "iou": random.random()},
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder for the gallery and its screenshots")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/gallery.json"))
    options = parser.parse_args()
    chromium = shutil.which("chromium") or sys.exit("chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch) / "gallery"
        started = time.perf_counter()
        write_gallery(make_entries(options.entries), folder, "100,000")
        written_s = time.perf_counter() - started
        rounds = [measure_in_browser(str(chromium), folder, options) for _ in range(options.rounds)]
    figures: dict[str, Any] = {"machine": platform.platform(), "entries": options.entries}
    figures["seconds to write"] = round(written_s, 1)
    figures |= {name: round(statistics.median(one[name] for one in rounds)) for name in rounds[0]}
    table = Table("", "ms, median of rounds", title=f"{options.entries:,} entries")
    for name, value in figures.items():
        table.add_row(name, str(value))
    console.print(table)
    options.output.write_text(json.dumps(figures, indent=1) + "\n")


def measure_in_browser(chromium: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Measure milliseconds of each action of a person."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_playwright() as driver, driver.chromium.launch(executable_path=chromium, args=arguments) as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto((folder / "index.html").as_uri())
        page.locator("article img").first.wait_for()
        times = {
            "first paint": page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"),
            "first tiles": page.evaluate("performance.now()"),
        }
        page.wait_for_function(f"document.getElementById('matches').textContent.startsWith('{options.entries:,} of')")
        times["all read"] = page.evaluate("performance.now()")
        for name, change in {
            "filter by category": ["category", "2"],
            "and by relation": ["relation", "1"],
            "and by score": ["score-min", "0.5"],
            "search": ["text", "left"],
            "sort": ["sort", "-iou"],
            "clear search": ["text", ""],
        }.items():
            times[name] = page.evaluate(TIMED, change)[0]
        if options.keep:
            page.screenshot(path=folder / "desktop.png")
            page.set_viewport_size({"width": 390, "height": 844})
            page.screenshot(path=folder / "phone.png")
        return times


if __name__ == "__main__":
    main()
