"""Report of a run: the sums over its receipts."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

from upath import UPath

from pipeline.plan import Plan
from pipeline.receipts import Receipt
from pipeline.storage import write_atomic


@dataclass(kw_only=True)
class Report:
    """Sums over the receipts so far; attempted = accepted + rejected + failed at any time."""

    name: str
    run: UPath
    plan_hash: str
    num_shards: int
    """Number of shards in the plan."""

    num_items: int
    """Number of items in the plan."""

    shards_done: int = 0
    attempted: int = 0
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    summary: Counter[str] = field(default_factory=Counter)
    """Sums of the sinks' figures that are numbers."""

    stage_seconds: Counter[str] = field(default_factory=Counter)
    """Working time per stage, summed over workers."""

    wall_seconds: float = 0.0
    """Wall time of all calls that delivered shards. A call that was killed leaves no time."""

    timed_shards: int = 0
    """Number of shards that these calls delivered."""

    @staticmethod
    def from_plan(plan: Plan) -> Report:
        """Return the report of a plan before its first receipt, with the time of earlier calls."""
        path = plan.run / "report.json"
        earlier = json.loads(path.read_bytes()) if path.exists() else {}
        is_timed = earlier.get("plan_hash") == plan.plan_hash and "timed_shards" in earlier
        return Report(
            name=plan.settings.name,
            run=plan.run,
            plan_hash=plan.plan_hash,
            num_shards=len(plan.shards),
            num_items=plan.num_items,
            wall_seconds=earlier["wall_seconds"] if is_timed else 0.0,
            timed_shards=earlier["timed_shards"] if is_timed else 0,
        )

    def add_call(self, seconds: float, num_shards: int) -> None:
        """Add the wall time of a call that delivered shards; one that delivered none does not count."""
        if num_shards:
            self.wall_seconds += seconds
            self.timed_shards += num_shards

    @property
    def estimated_seconds(self) -> float | None:
        """Wall time of the whole run, if shards of killed calls took as long as the others; None if none is timed."""
        return self.wall_seconds * self.shards_done / self.timed_shards if self.timed_shards else None

    @property
    def is_complete(self) -> bool:
        return self.shards_done == self.num_shards

    def add(self, receipt: Receipt) -> None:
        """Add the figures of one shard."""
        self.shards_done += 1
        self.attempted += receipt.attempted
        self.accepted += receipt.accepted
        self.rejected.update(receipt.rejected)
        self.failed.update(receipt.failed)
        self.summary.update({k: v for k, v in receipt.summary.items() if not isinstance(v, str)})
        self.stage_seconds.update(receipt.stage_seconds)

    def write(self) -> UPath:
        """Write ``RUN/report.json`` and return its path."""
        path = self.run / "report.json"
        record = {**vars(self), "run": str(self.run), "is_complete": self.is_complete}
        write_atomic(path, json.dumps(record, indent=1).encode())
        return path

    def format_lines(self) -> list[str]:
        """Return the lines of a summary."""
        state = "finished" if self.is_complete else "not finished"
        return [
            f"{self.name}: {state}, {self.shards_done:,} of {self.num_shards:,} shards, {self.wall_seconds:.1f} s",
            f"  {self.attempted:,} attempted = {self.accepted:,} accepted + "
            f"{self.rejected.total():,} rejected + {self.failed.total():,} failed",
            *self.format_details(),
            f"  output: {self.run}",
        ]

    def format_details(self) -> list[str]:
        """Return lines with the reasons, the sinks' figures, and the stages' shares of the working time."""
        text = [f"  rejected {count:>8,}  {reason}" for reason, count in self.rejected.most_common()]
        text += [f"  failed   {count:>8,}  {reason}" for reason, count in self.failed.most_common()]
        if self.summary:
            text.append("  " + ", ".join(f"{figure} {value:,}" for figure, value in sorted(self.summary.items())))
        if seconds := sum(self.stage_seconds.values()):
            shares = ", ".join(f"{stage} {s / seconds:.0%}" for stage, s in self.stage_seconds.most_common())
            text.append(f"  time: {shares}")
        return text
