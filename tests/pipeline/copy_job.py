"""A job that reads what another delivered: ``python copy_job.py SOURCE RUN``. Prints one line and exits with 1."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from toy_job import Number, TarSink

from pipeline.errors import PipelineError
from pipeline.plan import PlanRow
from pipeline.receipts import get_verified_path, read_receipts
from pipeline.run import Job, run_job
from pipeline.stage import Item, Rejected, Stage


class ReadStage(Stage[Item, Number]):
    def __init__(self, source: Path) -> None:
        self._source = source

    def setup(self) -> None:
        self._tars = {r.shard_id: get_verified_path(self._source, r, "tar") for r in read_receipts(self._source)}

    def process(self, items: list[Item]) -> list[Number | Rejected]:
        return [self._read(item) for item in items]

    def _read(self, item: Item) -> Number:
        with tarfile.open(self._tars[item.payload["shard"]]) as tar:
            content = tar.extractfile(f"{item.key}.txt")
            assert content is not None
            return Number(key=item.key, seed=item.seed, value=int(content.read()))


def rows(source: Path) -> list[PlanRow]:
    return [
        PlanRow(key=key, payload={"shard": receipt.shard_id})
        for receipt in read_receipts(source)
        for key in get_verified_path(source, receipt, "keys").read_text().split()
    ]


def main() -> None:
    source, run = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    job = Job(
        name="copy",
        fingerprint={},
        inputs=lambda: rows(source),
        items_per_shard=10,
        seed=0,
        stages=[ReadStage(source)],
        sink=TarSink(),
    )
    try:
        run_job(job, run)
    except PipelineError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
