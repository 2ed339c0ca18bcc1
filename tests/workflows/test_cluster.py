import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest
import tyro
import yaml
from loopback import free_port
from upath import UPath

from pipeline import ExecutorConfig, read_receipts
from workflows import generate_priors, ingest, pack
from workflows.miniature import WEIGHTS
from workflows.miniature.world.dataset import WorldConfig, write_dataset
from workflows.train import TrainCommandConfig

ROOT = Path(__file__).resolve().parents[2]


CLUSTER = ROOT / "workflows" / "cluster"


BIN = Path(sys.executable).parent


STAND_INS = {
    "srun": """#!/bin/bash
ntasks=1
while [[ "$1" == --* ]]; do
    [[ "$1" == --ntasks=* ]] && ntasks="${1#--ntasks=}"
    shift
done
pids=()
for ((i = 0; i < ntasks; i++)); do
    SLURM_PROCID=$i "$@" &
    pids+=($!)
done
trap 'kill -TERM "${pids[@]}" 2>/dev/null' TERM
status=0
for pid in "${pids[@]}"; do
    while true; do
        one=0
        wait "$pid" || one=$?
        kill -0 "$pid" 2>/dev/null || break
    done
    ((one == 0)) || status=$one
done
# Slurm ends what is left of a step.
pkill -KILL -f "$RAY_TMPDIR" || true
exit "$status"
""",
    "scontrol": """#!/bin/bash
case "$1" in
    show) tr ',' '\\n' <<<"$3" ;;
    requeue) echo "$2" >"$REQUEUED" ;;
esac
""",
}


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a batch script on the first of two nodes, both of them this machine; no Ray may outlive it."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in STAND_INS.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    ray_folder = Path("/tmp") / f"ray-{os.getpid()}-{free_port()}"  # sockets' paths must be short
    ray_folder.mkdir()
    loopback = "--node-ip-address=127.0.0.1 --object-store-memory=80000000 --min-worker-port=0 --max-worker-port=0"
    yield {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "BIN": str(BIN),
        "CHECKOUT": str(Path(__file__).parent),
        "SLURM_SUBMIT_DIR": "/nowhere",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "node1,node2",
        "SLURM_CPUS_PER_TASK": "1",
        "HEAD_IP": "127.0.0.1",
        "RAY_PORT": str(free_port()),
        "RAY_OPTIONS": loopback,
        "RAY_TMPDIR": str(ray_folder),
        "REQUEUED": str(tmp_path / "requeued"),
        "MAIN_ADDRESS": f"127.0.0.1:{free_port()}",
        "PROCESSES": "1",
    }
    deadline = time.monotonic() + 30
    while (left := processes_of(ray_folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    for process in left:
        process.kill()
    shutil.rmtree(ray_folder)
    assert not left, f"Ray was left running: {left}"


def processes_of(ray_folder: Path) -> list[psutil.Process]:
    """Ray's servers and agents have the session's folder in their command lines."""
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if any(str(ray_folder) in word for word in process.info["cmdline"] or ())]


def submit(script: str, slurm: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = ["bash", str(CLUSTER / "slurm" / script), *arguments]
    return subprocess.Popen(command, env=slurm, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("script", sorted((CLUSTER / "slurm").glob("*.sbatch")), ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script: Path) -> None:
    checked = subprocess.run([BIN / "shellcheck", script], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.slow
def test_a_slurm_job_runs_on_the_nodes_of_its_allocation(slurm: dict[str, str], tmp_path: Path) -> None:
    # A worker of the stage needs 1 CPU, the sink's half a CPU more: one node of 1 CPU would not do.
    job = submit("generate.sbatch", slurm, "slow_job", str(tmp_path / "run"))
    output = job.communicate(timeout=180)[0]
    assert job.returncode == 0, output
    assert len(read_receipts(tmp_path / "run")) == 20
    assert not (tmp_path / "requeued").exists()


@pytest.mark.slow
def test_a_slurm_job_passes_the_failure_of_its_command_on(slurm: dict[str, str], tmp_path: Path) -> None:
    job = submit("generate.sbatch", slurm, "slow_job", str(tmp_path / "run"), "--fail")
    output = job.communicate(timeout=180)[0]
    assert job.returncode == 2, output
    assert "as asked for" in output


@pytest.mark.slow
def test_a_preempted_slurm_job_finishes_what_it_began_and_is_queued_again(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    job = submit("generate.sbatch", slurm, "slow_job", str(run), "--seconds", "1.5", "--max-shards-in-flight", "1")
    deadline = time.monotonic() + 120
    while not list(run.glob("receipts/*.json")):
        assert time.monotonic() < deadline and job.poll() is None, "no shard was delivered"
        time.sleep(0.1)
    job.send_signal(signal.SIGTERM)
    output = job.communicate(timeout=120)[0]
    assert job.returncode == 143, output
    assert (tmp_path / "requeued").read_text() == "7\n"
    assert 1 <= len(read_receipts(run, allow_partial=True)) < 20


@pytest.mark.slow
def test_a_slurm_job_preempted_before_its_command_began_is_queued_again(slurm: dict[str, str], tmp_path: Path) -> None:
    job = submit("generate.sbatch", slurm, "slow_job", str(tmp_path / "run"))
    deadline = time.monotonic() + 60
    while not processes_of(Path(slurm["RAY_TMPDIR"])):
        assert time.monotonic() < deadline and job.poll() is None, "Ray did not start"
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    output = job.communicate(timeout=120)[0]
    assert job.returncode == 143, output
    assert (tmp_path / "requeued").read_text() == "7\n"


def test_a_slurm_job_without_a_command_says_how_it_is_used(slurm: dict[str, str]) -> None:
    job = submit("generate.sbatch", slurm)
    assert "usage: sbatch" in job.communicate(timeout=60)[0]
    assert job.returncode == 2


@pytest.mark.slow
def test_two_machines_train_one_network(slurm: dict[str, str], tmp_path: Path) -> None:
    data, here = UPath(tmp_path / "data"), ExecutorConfig(isolate=False)
    write_dataset(WorldConfig(output=tmp_path / "refer", num_train=6, num_val=2, num_test=2))
    annotations, images = UPath(tmp_path / "refer/miniature"), UPath(tmp_path / "refer/images")
    ingest.main(ingest.IngestConfig(annotations=annotations, images=images, data=data, executor=here))
    generate_priors.main(generate_priors.GeneratePriorsConfig(data=data, executor=here))
    pack.main(pack.PackConfig(data=data, executor=here))
    options = [
        "--data",
        str(data),
        "--variant",
        "base",
        "--output",
        str(tmp_path / "run"),
        "--epochs",
        "1",
        "--pretrained-visual",
        str(WEIGHTS / "detector"),
    ]
    job = submit("train.sbatch", {**slurm, "CHECKOUT": str(ROOT), "OMP_NUM_THREADS": "1"}, *options)
    output = job.communicate(timeout=300)[0]
    assert job.returncode == 0, output
    assert output.count("epoch 1/1") == 1, output
    assert (tmp_path / "run" / "best" / "model.safetensors").is_file()


def manifests() -> list[dict[str, Any]]:
    files = sorted((CLUSTER / "kuberay").glob("*.yaml"))
    return [manifest for path in files for manifest in yaml.safe_load_all(path.read_text())]


@pytest.mark.parametrize("manifest", manifests(), ids=lambda manifest: manifest["metadata"]["name"])
def test_a_manifest_uses_fields_as_their_schema_has_them(manifest: dict[str, Any]) -> None:
    schemas = json.loads((Path(__file__).parent / "kubernetes_fields.json").read_text())
    schema = {"$defs": schemas["$defs"], **schemas["kinds"][f"{manifest['apiVersion']}/{manifest['kind']}"]}
    jsonschema.validate(manifest, schema)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: spec.update(entryPoint="x"), "entryPoint"),
        (lambda spec: spec.update(backoffLimit="3"), "is not of type 'integer'"),
        (lambda spec: spec["rayClusterSpec"]["workerGroupSpecs"][0].pop("groupName"), "'groupName' is a required"),
    ],
)
def test_the_schema_refuses_what_kuberay_would(change: Any, message: str) -> None:
    manifest = next(manifest for manifest in manifests() if manifest["kind"] == "RayJob")
    change(manifest["spec"])
    with pytest.raises(jsonschema.ValidationError, match=message):
        test_a_manifest_uses_fields_as_their_schema_has_them(manifest)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_pod_of_the_training_knows_its_rank_and_where_the_first_one_is(rank: int, tmp_path: Path) -> None:
    service, job = (manifest for manifest in manifests() if manifest["kind"] in ("Service", "Job"))
    pod = job["spec"]["template"]["spec"]
    container = pod["containers"][0]
    (tmp_path / "python").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")  # tells how it was called
    (tmp_path / "python").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "JOB_COMPLETION_INDEX": str(rank)}
    command = [*container["command"], *container["args"]]
    called = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert called[:2] == ["-m", "workflows.train"]
    config = tyro.cli(TrainCommandConfig, args=called[2:])
    assert (config.num_machines, config.machine_rank) == (job["spec"]["completions"], rank)
    assert config.num_machines == job["spec"]["parallelism"]
    # Kubernetes calls the first pod <job>-0, and gives it an address below the service that its subdomain names.
    assert config.main_address.split(":")[0] == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert config.num_processes == int(container["resources"]["limits"]["nvidia.com/gpu"])


CONFIGS = {
    "workflows.ingest": "IngestConfig",
    "workflows.generate_priors": "GeneratePriorsConfig",
    "workflows.augment": "AugmentConfig",
    "workflows.pack": "PackConfig",
    "workflows.train": "TrainCommandConfig",
    "workflows.status": "StatusConfig",
}


def commands() -> list[str]:
    """Every ``workflows.x --options`` in the pages, scripts and manifests, continued lines joined."""
    found = []
    for path in sorted(CLUSTER.rglob("*")):
        if path.suffix in (".md", ".sbatch", ".yaml"):
            text = re.sub(r"\\\n\s*#?\s*", " ", path.read_text())
            found += re.findall(r"(workflows\.[a-z_]+ +[-\w][^\n`|&>)]*)", text)
            found += [f"workflows.train {options}" for options in re.findall(r"train\.sbatch (--[^\n`]*)", text)]
    return [command for command in found if '"' not in command]


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_pages_is_understood(command: str) -> None:
    module, *options = shlex.split(command)
    if "--workers" in options and "--executor" not in options:
        options += ["--executor", "ray"]  # as generate.sbatch adds
    config = getattr(__import__(module, fromlist=["main"]), CONFIGS[module])
    tyro.cli(config, args=options)


def test_there_are_commands_to_try() -> None:
    assert len(commands()) >= 8
