from __future__ import annotations

from pathlib import Path

import pytest

TOUR = Path(__file__).resolve().parents[2] / "docs" / "tour.ipynb"


@pytest.mark.slow
def test_the_tour_runs_from_top_to_bottom(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="the extra notebook is not installed")
    nbclient = pytest.importorskip("nbclient", reason="the extra notebook is not installed")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    book = nbformat.read(TOUR, as_version=4)
    assert not any(cell.get("outputs") for cell in book.cells), "keep the notebook in git without what it showed"
    nbclient.NotebookClient(book, timeout=600, resources={"metadata": {"path": str(TOUR.parent)}}).execute()
    shown = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 6
    assert not [output.text for output in shown if output.output_type == "stream" and "Warning" in output.text]
