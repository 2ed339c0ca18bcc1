from __future__ import annotations

from pathlib import Path

import pytest
from upath import UPath

from workflows import ingest
from workflows.cli.console import UserError
from workflows.gallery import __main__ as gallery
from workflows.miniature.world.dataset import WorldConfig, write_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> UPath:
    folder = tmp_path_factory.mktemp("world")
    write_dataset(WorldConfig(output=folder, num_train=2, num_val=4, num_test=1))
    annotations, images = UPath(folder / "miniature"), UPath(folder / "images")
    ingest.main(ingest.IngestConfig(annotations=annotations, images=images, data=UPath(folder / "data")))
    return UPath(folder / "data")


def test_a_folder_of_something_else_is_refused(data: UPath, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be shown \(it contains no run\); pass a run of"):
        gallery.main(gallery.GalleryConfig(run=UPath(tmp_path), output=tmp_path / "gallery"))
    with pytest.raises(UserError, match="has no run of the dataset other"):
        gallery.main(gallery.GalleryConfig(dataset="other", data=data, output=tmp_path / "gallery"))
    assert not (tmp_path / "gallery").exists()
