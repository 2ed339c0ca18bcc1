"""Translation of out-of-memory errors and dead worker processes into ``TrainerError``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from trainer.errors import TrainerError


@contextmanager
def translate_errors(describe_progress: Callable[[], str], memory_hint: str) -> Iterator[None]:
    """Translate errors of memory and of worker processes within the context.

    Args:
        describe_progress: function that returns the progress of the run and the intact checkpoint.
        memory_hint: options that need less memory.

    Raises:
        TrainerError: memory ran out, or a process that builds batches died.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise TrainerError(f"memory ran out {describe_progress()} ({_get_first_line(error)}); {memory_hint}") from error
    except (RuntimeError, ConnectionError, EOFError) as error:
        # A signal can interrupt this process anywhere; a dead worker's connection fails when a batch is fetched.
        if isinstance(error, RuntimeError) and not str(error).startswith("DataLoader worker"):
            raise
        raise TrainerError(
            f"a process that builds batches died {describe_progress()} ({_get_first_line(error)}); the machine's "
            "memory may have run out: use fewer processes (num_workers)"
        ) from error


def _get_first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
