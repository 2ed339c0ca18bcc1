"""What ends a run in the middle of a step, in words: memory that ran out, and dead helpers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from trainer.errors import TrainerError


@contextmanager
def translate_errors(describe_progress: Callable[[], str], memory_hint: str) -> Iterator[None]:
    """
    Args:
        where: says how far the run was, and what of it is intact.
        memory_hint: what takes less memory.

    Raises:
        TrainerError: memory ran out, or a process that prepares batches died.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise TrainerError(f"memory ran out {describe_progress()} ({_get_first_line(error)}); {memory_hint}") from error
    except (RuntimeError, ConnectionError, EOFError) as error:
        # By a signal, wherever this process just was; or where it was fetching a batch from the dead one.
        if isinstance(error, RuntimeError) and not str(error).startswith("DataLoader worker"):
            raise
        raise TrainerError(
            f"a process that prepares batches died {describe_progress()} ({_get_first_line(error)}); most "
            f"often the machine's memory "
            "ran out: use fewer of them (num_workers)"
        ) from error


def _get_first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
