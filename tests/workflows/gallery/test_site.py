from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from PIL import Image
from upath import UPath

from workflows import ingest
from workflows.gallery.site import Entry, Line, Mark, write_gallery
from workflows.miniature.world.dataset import WorldConfig, write_dataset

HOSTILE = '<script>document.title = "taken"</script><img src=x onerror="document.title=1">'


def _image(color: str, size: tuple[int, int] = (60, 40)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def _entry(number: int, **changes: Any) -> Entry:
    entry = Entry(
        key=f"entry-{number:05d}",
        facts="val, 2 cups",
        image=_image(("red", "blue")[number % 2]),
        marks=(
            Mark(box_xyxy=(6, 4, 30, 20), role="truth"),
            Mark(box_xyxy=(30, 20, 60, 40), role="object", label="cup"),
        ),
        lines=(Line(text=f"cup number {number}", note="an ordinal", marks=(1,)),),
        choices={"kind": ["scene" if number % 3 else "sample"], "split": ["val"], "category": ["cup"]},
        numbers={"count": 1 + number % 5, "score": number / 1000},
    )
    return replace(entry, **changes)


def _read(path: Path) -> Any:
    """The JSON that a data file hands over."""
    found = re.fullmatch(r"gallery\.\w+\((?:\d+, )?(.*)\)\n", path.read_text())
    assert found
    return json.loads(found[1])


def test_a_gallery_has_columns_for_filters_and_pieces_for_tiles(tmp_path: Path) -> None:
    assert write_gallery((_entry(i) for i in range(120)), tmp_path / "gallery", "cups") == 120
    data = tmp_path / "gallery" / "data"
    head = _read(data / "meta.js")
    assert (head["title"], head["total"]) == ("cups", 120)
    assert head["words"]["kind"] == ["sample", "scene"] and head["words"]["reason"] == []
    assert head["ranges"] == {"count": [1, 5], "score": [0.0, 0.119]}
    columns = _read(data / "index-0.js")
    assert columns["count"][:6] == [1, 2, 3, 4, 5, 1] and columns["kind"][:4] == [[0], [1], [1], [0]]
    assert columns["text"][7] == "entry-00007 \ncup number 7 an ordinal"
    assert [len(_read(data / f"items-{i}.js")) for i in range(3)] == [50, 50, 20]
    item = _read(data / "items-2.js")[19]
    assert item["key"] == "entry-00119" and item["size"] == [60, 40]
    assert item["marks"] == [[0.1, 0.1, 0.5, 0.5, "truth", ""], [0.5, 0.5, 1.0, 1.0, "object", "cup"]]
    assert item["lines"] == [["cup number 119", "an ordinal", [1]]]


def test_equal_images_share_a_thumbnail_and_large_ones_are_made_small(tmp_path: Path) -> None:
    entries = [_entry(i) for i in range(10)] + [_entry(10, image=_image("green", (1600, 400)), marks=())]
    write_gallery(entries, tmp_path / "gallery", "cups")
    thumbnails = sorted((tmp_path / "gallery" / "thumbnails").iterdir())
    assert len(thumbnails) == 3
    assert max(Image.open(path).size for path in thumbnails) == (384, 96)


def test_a_gallery_is_written_anew(tmp_path: Path) -> None:
    for count in (70, 3):
        write_gallery((_entry(i) for i in range(count)), tmp_path / "gallery", "cups")
    assert not (tmp_path / "gallery" / "data" / "items-1.js").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["gallery"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> UPath:
    folder = tmp_path_factory.mktemp("world")
    write_dataset(WorldConfig(output=folder, num_train=2, num_val=4, num_test=1))
    annotations, images = UPath(folder / "miniature"), UPath(folder / "images")
    ingest.main(ingest.IngestConfig(annotations=annotations, images=images, data=UPath(folder / "data")))
    return UPath(folder / "data")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A gallery of 200 entries, one with a hostile query, as a folder and its address."""
    folder = tmp_path_factory.mktemp("site")
    entries = [_entry(i) for i in range(200)]
    entries[3] = _entry(3, lines=(Line(text=HOSTILE, note=HOSTILE),), facts=HOSTILE)
    write_gallery(entries, folder / "gallery", HOSTILE)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder / "gallery"))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield folder / "gallery", f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("way", ["file", "http"])
def test_the_page_filters_searches_pages_and_points(served: tuple[Path, str], page: Any, way: str) -> None:
    folder, address = served
    page.goto(address if way == "http" else (folder / "index.html").as_uri())
    found = page.locator("#matches")
    found.get_by_text("200 of 200", exact=True).wait_for()
    assert page.locator("article").count() == 48
    assert page.title() == HOSTILE and page.locator("article script, article img[src=x]").count() == 0
    assert page.locator("article").nth(3).locator("li").inner_text().startswith("<script>")

    page.locator("#kind").select_option(label="sample")
    found.get_by_text("67 of 200", exact=True).wait_for()
    page.locator("#count-min").fill("5")
    found.get_by_text("13 of 200", exact=True).wait_for()
    page.locator("#count-min").fill("6")
    page.get_by_text("No image matches these filters").wait_for()
    page.locator("#clear").click()
    page.locator("#sort").select_option(label="Detection score, highest first")
    assert page.locator("article img").first.get_attribute("alt") == "entry-00199"
    page.keyboard.press("Tab")
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    assert page.locator("#page").input_value() == "2" and "page=2" in page.url
    page.reload()
    found.get_by_text("200 of 200", exact=True).wait_for()
    assert page.locator("article img").first.get_attribute("alt") == "entry-00151"

    page.keyboard.press("/")
    page.keyboard.type("number 17")
    found.get_by_text("12 of 200", exact=True).wait_for()  # 17, 117 and 170 to 179
    query = page.locator("article li").first
    query.hover()
    assert page.locator("article").first.locator(".mark.on").count() == 1
    before = page.locator("html").get_attribute("data-theme")
    page.locator("#theme").click()
    assert page.locator("html").get_attribute("data-theme") != before
    page.locator("article .image").first.press("Enter")
    assert page.locator("dialog[open] .mark b").inner_text() == "cup"
    page.keyboard.press("ArrowRight")
    page.locator("dialog[open] img[alt='entry-00178']").wait_for()
    page.keyboard.press("ArrowLeft")
    page.locator("dialog[open] img[alt='entry-00179']").wait_for()
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    page.evaluate("location.hash = 'count-min=5&sort=-score'")
    found.get_by_text("40 of 200", exact=True).wait_for()
    assert page.locator("#text").input_value() == "" and page.locator("#sort").input_value() == "-score"


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_marks_of_an_enlarged_image_lie_on_their_objects(tmp_path: Path, page: Any, width: int) -> None:
    sizes = {"wide": (160, 60), "square": (90, 90), "tall": (50, 140)}
    entries = [
        _entry(
            i,
            image=_image("red", size),
            marks=(Mark(box_xyxy=(0.25 * size[0], 0.5 * size[1], 0.75 * size[0], size[1]), role="truth"),),
        )
        for i, size in enumerate(sizes.values())
    ]
    write_gallery(entries, tmp_path / "gallery", "cups")
    page.set_viewport_size({"width": width, "height": 800})
    page.goto((tmp_path / "gallery" / "index.html").as_uri())
    for i, (image_width, image_height) in enumerate(sizes.values()):
        page.locator("article .image").nth(i).click()
        image, mark = (page.locator(f"dialog[open] {one}").bounding_box() for one in ("img", ".mark"))
        assert image["width"] / image["height"] == pytest.approx(image_width / image_height, rel=0.02)
        assert mark["x"] == pytest.approx(image["x"] + 0.25 * image["width"], abs=1)
        assert mark["y"] == pytest.approx(image["y"] + 0.5 * image["height"], abs=1)
        assert mark["width"] == pytest.approx(0.5 * image["width"], abs=1)
        assert mark["height"] == pytest.approx(0.5 * image["height"], abs=1)
        assert image["height"] <= 0.7 * 800
        page.keyboard.press("Escape")
