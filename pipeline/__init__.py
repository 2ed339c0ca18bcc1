"""How work is planned, run and committed; independent of images, models and queries.

This is the public face of the package; other packages import from here alone::

    from pipeline import Item, Job, Stage, run_job

Ray is imported only by a run with ``ExecutorConfig(executor="ray")``.
"""

from pipeline.database import (
    ROWS_PER_PART,
    count_distinct,
    count_parts,
    create_view,
    divide_by_hash,
    fetch_value,
    iterate_rows,
    open_database,
)
from pipeline.errors import PipelineError, Preempted
from pipeline.executor import ExecutorConfig
from pipeline.limits import (
    LimitedConfig,
    NotNegativeFloat,
    NotNegativeInt,
    OpenShare,
    PositiveFloat,
    PositiveInt,
    PositiveShare,
    Range,
    Share,
    ShareBelowOne,
)
from pipeline.plan import Plan, PlanRow, PlanSettings, ShardItems, compute_rows_sha256, open_plan, remove_run
from pipeline.progress import compute_recent_rate, format_duration, format_progress
from pipeline.receipts import (
    PublishedFile,
    Receipt,
    get_verified_path,
    list_runs,
    list_verified_paths,
    read_attachments,
    read_ledger,
    read_receipts,
)
from pipeline.report import Report
from pipeline.run import Job, Limits, run_job
from pipeline.stage import Item, MapStage, Rejected, Resources, Sink, SinkOutput, Stage
from pipeline.storage import (
    Location,
    compute_sha256,
    get_local_path,
    list_sizes,
    lock_descriptor,
    replace_file,
    resolve_location,
    write_atomic,
)

__all__ = [
    "ROWS_PER_PART",
    "ExecutorConfig",
    "Item",
    "Job",
    "LimitedConfig",
    "Limits",
    "Location",
    "MapStage",
    "NotNegativeFloat",
    "NotNegativeInt",
    "OpenShare",
    "PipelineError",
    "Plan",
    "PlanRow",
    "PlanSettings",
    "PositiveFloat",
    "PositiveInt",
    "PositiveShare",
    "Preempted",
    "PublishedFile",
    "Range",
    "Receipt",
    "Rejected",
    "Report",
    "Resources",
    "ShardItems",
    "Share",
    "ShareBelowOne",
    "Sink",
    "SinkOutput",
    "Stage",
    "compute_recent_rate",
    "compute_rows_sha256",
    "compute_sha256",
    "count_distinct",
    "count_parts",
    "create_view",
    "divide_by_hash",
    "fetch_value",
    "format_duration",
    "format_progress",
    "get_local_path",
    "get_verified_path",
    "iterate_rows",
    "list_runs",
    "list_sizes",
    "list_verified_paths",
    "lock_descriptor",
    "open_database",
    "open_plan",
    "read_attachments",
    "read_ledger",
    "read_receipts",
    "remove_run",
    "replace_file",
    "resolve_location",
    "run_job",
    "write_atomic",
]
