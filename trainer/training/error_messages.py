"""What ends a run in the middle of a step, in words: memory that ran out, and dead helpers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from trainer.errors import TrainerError


@contextmanager
def explained(where: Callable[[], str], less_memory: str) -> Iterator[None]:
    """
    Args:
        where: says how far the run was, and what of it is intact.
        less_memory: what takes less memory.

    Raises:
        TrainerError: memory ran out, or a process that prepares batches died.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise TrainerError(f"memory ran out {where()} ({_first_line(error)}); {less_memory}") from error
    except (RuntimeError, ConnectionError, EOFError) as error:
        # By a signal, wherever this process just was; or where it was fetching a batch from the dead one.
        if isinstance(error, RuntimeError) and not str(error).startswith("DataLoader worker"):
            raise
        raise TrainerError(
            f"a process that prepares batches died {where()} ({_first_line(error)}); most often the machine's memory "
            "ran out: use fewer of them (num_workers)"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
