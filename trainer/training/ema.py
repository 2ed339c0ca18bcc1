"""The average of a network's weights over its steps (EMA), and its place in a checkpoint."""

from __future__ import annotations

from typing import Any, cast

from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from trainer.model.network import GroundingNetwork


class EmaWeights:
    """``average = decay * average + (1 - decay) * weights`` after each step, from the first step's weights on."""

    def __init__(self, network: GroundingNetwork, decay: float) -> None:
        self._averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]

    @property
    def network(self) -> GroundingNetwork:
        """The network with averaged weights."""
        return cast(GroundingNetwork, self._averaged.module)

    def update(self, network: GroundingNetwork) -> None:
        """Take the weights of one more step in."""
        self._averaged.update_parameters(network)

    def state_dict(self) -> dict[str, Any]:
        return self._averaged.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._averaged.load_state_dict(state)
