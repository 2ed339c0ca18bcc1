"""Pages of the site that are made out of the code and of files elsewhere: API reference, the rooms' diagram, clusters.

MkDocs calls ``on_files``; nothing of it is written into the checkout.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from html import escape
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("pipeline", "shards", "generation", "augmentation", "trainer", "workflows")
ELSEWHERE = {
    "clusters/slurm.md": "workflows/cluster/slurm.md",
    "clusters/kuberay.md": "workflows/cluster/kuberay.md",
    "clusters/ray_job.md": "workflows/cluster/ray_job.md",
    "miniature-models.md": "workflows/miniature/weights/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
"""Page of the site to the file that it shows."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made to what lies in the folder."""
    made = {page: (ROOT / source).read_text() for page, source in ELSEWHERE.items()}
    made |= {f"api/{room}.md": reference(room) for room in ROOMS if room != "workflows"}
    made["rooms.svg"] = diagram()
    for page, content in made.items():
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links into the checkout, which work where the pages are read as files, become links to the site's own pages."""
    for made, source in ELSEWHERE.items():
        markdown = markdown.replace(f"](../{source})", f"]({made})")
    return markdown.replace(
        "<!-- rooms.svg -->", "![The folders of the code and which of them import which](rooms.svg)"
    )


def modules(room: str) -> list[str]:
    """Names of all modules of a room, in alphabetical order."""
    paths = sorted((ROOT / room).rglob("*.py"))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths if path.name != "__init__.py"]


def summary(room: str) -> str:
    """First sentence of a room's docstring."""
    text = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text())) or ""
    return " ".join(text.split("\n\n")[0].split())


def reference(room: str) -> str:
    """A page with the docstrings of a room."""
    parts = [f"# {room}", summary(room)]
    parts += [f"## `{name}`\n\n::: {name}\n    options:\n      show_root_heading: false" for name in modules(room)]
    return "\n\n".join(parts)


def imports() -> Counter[tuple[str, str]]:
    """(room, room that it imports) to the number of its modules that do."""
    found: Counter[tuple[str, str]] = Counter()
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            found.update((room, other) for other in set(_rooms_named_by(path)) - {room})
    return found


def _rooms_named_by(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name.split(".")[0] for name in names if name.split(".")[0] in ROOMS)


BOX = (190, 84)
PLACES = {
    "workflows": (300, 20),
    "generation": (20, 190),
    "augmentation": (300, 190),
    "trainer": (580, 190),
    "pipeline": (160, 360),
    "shards": (440, 360),
}
"""Left and top of each room."""


def diagram() -> str:
    """The rooms, the sentence each says of itself, and an arrow wherever modules of one import the other."""
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 790 470" font-family="sans-serif" font-size="12">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#555"/></marker></defs><rect width="790" height="470" fill="#fff"/>',
    ]
    parts += [_arrow(source, target, count) for (source, target), count in sorted(imports().items())]
    parts += [_room(name) for name in ROOMS]
    return "\n".join([*parts, "</svg>"])


def _room(name: str) -> str:
    (x, y), (width, height) = PLACES[name], BOX
    lines = _wrapped(summary(name), 31)[:4]
    text = "".join(
        f'<text x="{x + 8}" y="{y + 34 + 14 * i}" font-size="10.5">{escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="#eaf2f8" stroke="#0072b2"/>'
        f'<text x="{x + 8}" y="{y + 18}" font-weight="bold">{name}/ <tspan font-weight="normal" fill="#555">'
        f"{len(modules(name))} modules</tspan></text>{text}"
    )


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _arrow(source: str, target: str, count: int) -> str:
    """From the edge of one room to that of the other, with the number of modules that import it."""
    (x1, y1), (x2, y2), (width, height) = PLACES[source], PLACES[target], BOX
    if y1 == y2:  # side by side
        left_to_right = x1 < x2
        points = (
            x1 + width if left_to_right else x1,
            y1 + height / 2,
            x2 if left_to_right else x2 + width,
            y2 + height / 2,
        )
    else:
        lean = (x2 - x1) / 8
        points = (x1 + width / 2 + lean, y1 + height, x2 + width / 2 - lean, y2)
    (x3, y3, x4, y4) = points
    middle = f'x="{x3 + 0.4 * (x4 - x3) + 5:.0f}" y="{y3 + 0.4 * (y4 - y3) - 3:.0f}"'
    line = f'x1="{x3:.0f}" y1="{y3:.0f}" x2="{x4:.0f}" y2="{y4:.0f}"'
    return (
        f'<line {line} stroke="#555" marker-end="url(#tip)"/><text {middle} fill="#555" font-size="10">{count}</text>'
    )
