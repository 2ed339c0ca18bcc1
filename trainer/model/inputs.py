"""Inputs of the grounding network."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class QueryInputs(NamedTuple):
    """Queries about a batch of images, as tensors."""

    token_ids: Tensor
    """Token ids (queries, length) int64, padded to the longest query."""

    token_mask: Tensor
    """Mask (queries, length) bool, True = a real token."""

    query_image: Tensor
    """Index (queries,) int64 of each query's image in the batch."""

    prior: Tensor | None = None
    """Prior features (queries, prior_dim) float; None if no query has a prior."""

    prior_mask: Tensor | None = None
    """Mask (queries,) bool, False = the query has no prior; None if every query has one."""

    has_place: Tensor | None = None
    """Mask (queries,) bool, True = the query says where its target is, see ``has_place_word``; None if no query does.
    Exemplar scoring alone takes it."""

    def convert(self, function: Callable[[Tensor], Tensor]) -> QueryInputs:
        """Return the inputs with ``function`` applied to each tensor."""
        return QueryInputs(*(None if tensor is None else function(tensor) for tensor in self))  # type: ignore[arg-type]

    def to(self, device: torch.device) -> QueryInputs:
        """Return the inputs on ``device``."""
        return self.convert(lambda tensor: tensor.to(device, non_blocking=True))


class NetworkInputs(NamedTuple):
    """Images and their queries; named tuples pass through DDP, autocast and hooks unchanged."""

    images: Tensor
    """Pixels (images, 3, size, size): normalized float, zero on padding; uint8 until ``Processor.normalize_inputs``."""

    padding: Tensor
    """Mask (images, size, size) bool, True = padding; the rest is one rectangle."""

    queries: QueryInputs
    """Queries about the images."""

    def convert(self, function: Callable[[Tensor], Tensor]) -> NetworkInputs:
        """Return the inputs with ``function`` applied to each tensor."""
        return NetworkInputs(function(self.images), function(self.padding), self.queries.convert(function))

    def pad(self, min_images: int, min_queries: int) -> NetworkInputs:
        """Repeat the first image and the first query until there are so many; ``GroundingOutput.trim`` drops them."""

        def repeat_first(tensor: Tensor, count: int) -> Tensor:
            missing = count - len(tensor)
            return tensor if missing <= 0 else torch.cat([tensor, tensor[:1].expand(missing, *tensor.shape[1:])])

        return NetworkInputs(
            repeat_first(self.images, min_images),
            repeat_first(self.padding, min_images),
            self.queries.convert(lambda tensor: repeat_first(tensor, min_queries)),
        )

    def to(self, device: torch.device) -> NetworkInputs:
        """Return the inputs on ``device``."""
        return self.convert(lambda tensor: tensor.to(device, non_blocking=True))
