"""Optimizers: AdamW for dense parameters, and Adam on the touched rows of tables.

Letters: V rows of a table, U rows that a step touches, D width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from sessionrec.config import Config
from sessionrec.model.embed import ItemTable


class OptimConfig(Config):
    """How weights move."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak learning rate (paper: 1e-3)."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Of AdamW, on matrices; never on tables, biases and norms."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the gradient's mean."""
    beta2: float = Field(default=0.98, ge=0, lt=1)
    """Decay of the gradient's square; .98 is that of HSTU's authors."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps of linear warm-up."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Learning rate after the warm-up: `constant` (paper), or `cosine`, half a wave down to 0 at the last step."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Largest norm of the gradient of the dense parameters; none = no clipping."""


class RowAdam:
    """Adam whose step costs the touched rows, not the table.

    A row's moments decay only when it is touched (lazy Adam, as torch's SparseAdam); the correction of their bias
    counts the row's own steps, so a rare item's first step is a full one.

    Args:
        tables: Parameters with sparse gradients of distinct rows.
        config: Rates.
    """

    def __init__(self, tables: Iterable[nn.Parameter], config: OptimConfig) -> None:
        self.tables, self._config = list(tables), config
        self.mean = [torch.zeros_like(table) for table in self.tables]
        self.square = [torch.zeros_like(table) for table in self.tables]
        self.steps = [torch.zeros(len(table), dtype=torch.int32, device=table.device) for table in self.tables]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move the touched rows and forget the gradients."""
        beta1, beta2 = self._config.beta1, self._config.beta2
        for table, mean, square, steps in zip(self.tables, self.mean, self.square, self.steps, strict=True):
            if table.grad is None:
                continue
            rows_U, grad_UD = touched_rows(table.grad)
            table.grad = None
            if not len(rows_U):
                continue
            count_U = steps.index_select(0, rows_U) + 1
            mean_UD = mean.index_select(0, rows_U).lerp_(grad_UD, 1 - beta1)
            square_UD = square.index_select(0, rows_U).mul_(beta2).addcmul_(grad_UD, grad_UD, value=1 - beta2)
            steps.index_copy_(0, rows_U, count_U)
            mean.index_copy_(0, rows_U, mean_UD)
            square.index_copy_(0, rows_U, square_UD)
            count = count_U.to(grad_UD.dtype)
            rate_U = learning_rate * (1 - beta2**count).sqrt() / (1 - beta1**count)
            eps_U = 1e-8 * (1 - beta2**count).sqrt()
            update_UD = mean_UD.mul_(-rate_U[:, None]).div_(square_UD.sqrt_().add_(eps_U[:, None]))
            table.index_add_(0, rows_U, update_UD)

    def state_dict(self) -> dict[str, Tensor]:
        """Moments and counts, by table."""
        state: dict[str, Tensor] = {}
        for place in range(len(self.tables)):
            state[f"{place}.mean"] = self.mean[place]
            state[f"{place}.square"] = self.square[place]
            state[f"{place}.steps"] = self.steps[place]
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what `state_dict` gave."""
        for place in range(len(self.tables)):
            self.mean[place].copy_(state[f"{place}.mean"])
            self.square[place].copy_(state[f"{place}.square"])
            self.steps[place].copy_(state[f"{place}.steps"])


def touched_rows(grad: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct rows of a sparse gradient and their values; a table looked up several times has its parts added."""
    if not grad.is_sparse:
        raise ValueError("expected a sparse gradient; the table was looked up outside `ItemTable.rows`")
    rows, values = grad._indices()[0], grad._values()
    if bool((rows[1:] > rows[:-1]).all()):
        return rows, values
    distinct, inverse = torch.unique(rows, return_inverse=True)
    return distinct, values.new_zeros(len(distinct), values.shape[1]).index_add_(0, inverse, values)


class Optimizer:
    """Everything that moves a model's weights in one step.

    Args:
        model: Its parameters.
        tables: Those with sparse gradients, beside the ones of the model's item tables; none if all are dense.
        config: Rates.
        num_steps: Steps of the whole run; what `cosine` falls over.

    Raises:
        ValueError: The schedule is `cosine` and `num_steps` is missing or ends within the warm-up.
    """

    def __init__(
        self,
        model: nn.Module,
        tables: Iterable[nn.Parameter],
        config: OptimConfig,
        *,
        num_steps: int | None = None,
    ) -> None:
        if config.schedule == "cosine" and (num_steps is None or num_steps <= config.warmup_steps):
            raise ValueError(
                f"the schedule `cosine` needs `num_steps` above the {config.warmup_steps} of the warm-up, got "
                f"{num_steps}; give the number of steps of the whole run, or choose `constant`"
            )
        self._config, self._num_steps = config, num_steps
        own = [table for module in model.modules() if isinstance(module, ItemTable) for table in module.sparse_tables]
        # In order and each once: what is given, and what a model has beside it.
        self.rows = RowAdam({id(table): table for table in [*tables, *own]}.values(), config)
        sparse = {id(table) for table in self.rows.tables}
        dense = [parameter for parameter in model.parameters() if id(parameter) not in sparse]
        # A matrix maps; everything else shifts, scales or looks up, and is not decayed.
        lookups = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding | ItemTable)}
        decayed = [p for p in dense if p.ndim >= 2 and id(p) not in lookups]
        others = [p for p in dense if p.ndim < 2 or id(p) in lookups]
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.dense = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            fused=True,
        )
        self.step_number = 0

    def rate(self, step: int) -> float:
        """Learning rate of a step, the first being 1."""
        config = self._config
        rate = config.learning_rate * (min(1.0, step / config.warmup_steps) if config.warmup_steps else 1.0)
        if config.schedule == "cosine" and self._num_steps is not None:
            after = max(step - config.warmup_steps, 0) / (self._num_steps - config.warmup_steps)
            rate *= (1 + math.cos(math.pi * min(after, 1.0))) / 2
        return rate

    def step(self) -> float:
        """Move all weights, forget the gradients.

        Returns:
            The norm of the dense gradient before it was clipped; NaN where nothing is clipped, for measuring it would
            be a pass over all weights that nobody asked for.
        """
        self.step_number += 1
        rate = self.rate(self.step_number)
        for group in self.dense.param_groups:
            group["lr"] = rate
        norm = math.nan
        if self._config.clip_norm is not None:
            dense = [p for group in self.dense.param_groups for p in group["params"]]
            norm = float(nn.utils.clip_grad_norm_(dense, self._config.clip_norm))
        self.dense.step()
        self.dense.zero_grad(set_to_none=True)
        self.rows.step(rate)
        return norm

    def state_dict(self) -> dict[str, Tensor]:
        """Moments of all parameters and the number of steps, as tensors by name."""
        state = {f"rows.{name}": tensor for name, tensor in self.rows.state_dict().items()}
        for place, moments in self.dense.state_dict()["state"].items():
            state |= {f"dense.{place}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        return state | {"step_number": torch.tensor(self.step_number)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what `state_dict` gave."""
        self.step_number = int(state["step_number"])
        self.rows.load_state_dict({name[5:]: tensor for name, tensor in state.items() if name.startswith("rows.")})
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in state.items():
            if name.startswith("dense."):
                _, place, moment = name.split(".")
                moments.setdefault(int(place), {})[moment] = tensor
        self.dense.load_state_dict({"state": moments, "param_groups": self.dense.state_dict()["param_groups"]})
