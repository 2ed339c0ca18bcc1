"""Interface between the engine and the work: stages that map items, and a sink that writes them.

A stage stores its configuration in ``__init__`` (it is pickled to workers), loads weights once per worker in
``setup`` and maps a batch of items to new items in ``process``. What is dropped carries a reason.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, runtime_checkable

from pipeline.limits import LimitedConfig, NotNegativeFloat


@runtime_checkable
class Keyed(Protocol):
    """Object that flows through stages, with the key of its row of the plan."""

    @property
    def key(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Item:
    """Row of a plan: the unit that is accepted, rejected or failed."""

    key: str
    """Name of the item, unique within the plan; becomes the sample's key."""

    seed: int
    """Seed, ``sha256(seed of the plan, name of the job, key)`` as 63 bits: the only randomness of a stage."""

    payload: Mapping[str, Any]
    """JSON values that the plan has for this row."""


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """Item that a stage dropped on purpose."""

    key: str
    reason: str
    """Reason by which the report counts, such as ``wrong_count``."""

    detail: str = ""
    """Explanation of this one item for people."""

    attachment: bytes = field(default=b"", repr=False)
    """File that shows why, such as an image; empty for none. The engine keeps ``MAX_ATTACHMENTS`` per reason and shard
    (``read_attachments``)."""


@dataclass(frozen=True, kw_only=True)
class Resources(LimitedConfig):
    """CPUs and GPUs of one worker of a stage."""

    num_cpus: NotNegativeFloat = 1.0
    """Number of CPUs, at least 0; use fractions for stages that mostly wait."""

    num_gpus: NotNegativeFloat = 0.0


In = TypeVar("In", bound=Keyed)
Out = TypeVar("Out", bound=Keyed)


class Stage(ABC, Generic[In, Out]):
    """Step of a job, run in-process or as a pool of Ray actors."""

    resources: Resources = Resources()
    batch_size: int = 32
    """Maximum number of items of a ``process`` call; a batch never crosses a shard."""

    @property
    def name(self) -> str:
        """Name in progress and reports."""
        return type(self).__name__.removesuffix("Stage").lower()

    def setup(self) -> None:
        """Load weights. Called once per worker, before the first ``process``."""

    if not TYPE_CHECKING:  # type checkers still refuse attributes that no class declares

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"{type(self).__name__} has no {name!r}; call setup before process")

    @abstractmethod
    def process(self, items: list[In]) -> list[Out | Rejected]:
        """Map items to new items.

        Args:
            items: at most ``batch_size`` items of one shard.

        Returns:
            As many results, in the same order, each under the key of its item: a new item, or ``Rejected``.
        """


class MapStage(Stage[In, Out]):
    """Stage that maps one item at a time."""

    @abstractmethod
    def process_item(self, item: In) -> Out | Rejected:
        """Return a new item under the key of this one, or ``Rejected``."""

    def process(self, items: list[In]) -> list[Out | Rejected]:
        return [self.process_item(item) for item in items]


@dataclass(frozen=True, kw_only=True)
class SinkOutput:
    """Files and figures of one shard."""

    files: Mapping[str, Path]
    """Files in the folder that the sink got, by role (``tar``, ``index``, ...)."""

    summary: Mapping[str, int | float | str] = field(default_factory=dict)
    """Figures for the receipt, such as the number of queries; the report adds numbers up over the shards."""


class Sink(ABC, Generic[In]):
    """Writer of the accepted items of one shard; the engine publishes the files and commits the receipt."""

    @abstractmethod
    def write(self, items: list[In], folder: Path) -> SinkOutput:
        """Write deterministic files (fixed order, no clock) into the empty folder. May be called with no items."""
