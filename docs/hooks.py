"""Add pages to the site that are made of other files: the API reference, cluster guides and results of benchmarks.

MkDocs calls ``on_files`` and ``on_page_markdown``. Nothing is written into the checkout.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pipeline", "shards", "generation", "augmentation", "trainer")
SOURCES = {
    "clusters/slurm.md": "workflows/cluster/slurm.md",
    "clusters/kuberay.md": "workflows/cluster/kuberay.md",
    "clusters/ray_job.md": "workflows/cluster/ray_job.md",
    "miniature-models.md": "workflows/miniature/weights/README.md",
    "miniature-grounder.md": "workflows/miniature/weights/grounder/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    **{
        f"results/{path.name}": path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "benchmarks" / "results").iterdir())
    },
}
"""Files of the checkout by their place in the site."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to the files of docs/."""
    pages = {page: (ROOT / source).read_text() for page, source in SOURCES.items()}
    pages |= {f"api/{package}.md": write_reference(package) for package in PACKAGES}
    for page, content in pages.items():
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to files of the checkout at the pages of the site."""
    own_source = SOURCES.get(page.file.src_uri)
    if own_source:  # files elsewhere link from the root of the checkout
        markdown = markdown.replace("](docs/", "](")
    for target, source in SOURCES.items():
        paths = [f"../{source}", source]
        if own_source:
            paths.append(os.path.relpath(source, Path(own_source).parent))
        for path in paths:
            markdown = markdown.replace(f"]({path})", f"]({target})")
    return markdown


def write_reference(package: str) -> str:
    """Return a page with the docstrings of all modules of a package."""
    modules = pkgutil.walk_packages([str(ROOT / package)], f"{package}.")
    summary = (importlib.import_module(package).__doc__ or "").split("\n\n")[0]
    sections = [
        f"## `{module.name}`\n\n::: {module.name}\n    options:\n      show_root_heading: false"
        for module in modules
        if not module.ispkg
    ]
    return "\n\n".join([f"# {package}", summary, *sections])
