"""The data job with everything in an object store: a real S3 server in a process of its own, on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import s3_server
from upath import UPath

from pipeline import ExecutorConfig, get_verified_path, read_receipts
from shards.reader import SampleReader
from workflows import generate_priors, ingest, pack
from workflows.cli.console import UserError
from workflows.miniature.world.dataset import WorldConfig, write_dataset
from workflows.train import TrainCommandConfig, build_train_config


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UPath]:
    """An empty bucket; the environment names the server."""
    with pytest.MonkeyPatch.context() as patch, s3_server():
        patch.setenv("RESVG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield UPath("s3://bucket")


def test_annotations_images_and_shards_in_a_bucket_give_the_bytes_that_folders_give(
    bucket: UPath, tmp_path: Path
) -> None:
    write_dataset(WorldConfig(output=tmp_path / "refer", num_train=6, num_val=2, num_test=2))
    bucket.fs.put(str(tmp_path / "refer"), "bucket/refer", recursive=True)
    here = ExecutorConfig(isolate=False)
    files = []
    for root, data in ((bucket / "refer", bucket / "data"), (UPath(tmp_path / "refer"), UPath(tmp_path / "data"))):
        config = ingest.IngestConfig(annotations=root / "miniature", images=root / "images", data=data, executor=here)
        ingest.main(config)
        generate_priors.main(generate_priors.GeneratePriorsConfig(data=data, limit=400, executor=here))
        pack.main(pack.PackConfig(data=data, executor=here))
        run = data / "miniature" / "packed-samples"
        files.append([get_verified_path(run, receipt, "priors").read_bytes() for receipt in read_receipts(run)])
        samples = data / "miniature" / "samples"
        files[-1] += [get_verified_path(samples, receipt, "tar").read_bytes() for receipt in read_receipts(samples)]
        assert SampleReader(run).has_priors
        assert build_train_config(TrainCommandConfig(data=data, variant="priors", exemplars=False)).train == (run,)
    assert files[0] == files[1]
    before = (bucket / "data/miniature/packed-samples/receipts/train-00000.json").read_bytes()
    pack.main(pack.PackConfig(data=bucket / "data", executor=here))
    assert (bucket / "data/miniature/packed-samples/receipts/train-00000.json").read_bytes() == before


def test_a_bucket_without_images_is_one_clear_line(bucket: UPath) -> None:
    with pytest.raises(UserError, match="s3://bucket/nowhere is not a folder"):
        ingest.main(ingest.IngestConfig(images=bucket / "nowhere", data=bucket / "data"))


def test_a_protocol_without_its_package_names_the_package() -> None:
    from pipeline import PipelineError, resolve_location

    with pytest.raises(PipelineError, match="object stores need `pip install s3fs`"):
        resolve_location("nosuchstore://bucket/run")
