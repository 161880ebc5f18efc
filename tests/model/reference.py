"""The SessionRec-HSTU forward pass once more: NumPy, float64, loops, no padding, from the formulas of the papers.

Nothing here imports the code it is compared with. Weights come by the names of the model's `state_dict`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Weights = Mapping[str, Array]


def silu(x: Array) -> Array:
    result: Array = x / (1 + np.exp(-x))
    return result


def layer_norm(x: Array, eps: float) -> Array:
    """Of a single vector; no affine map."""
    centred = x - x.mean()
    result: Array = centred / math.sqrt((centred * centred).mean() + eps)
    return result


def bucket(later_ms: int, earlier_ms: int) -> int:
    seconds = max(1.0, abs(later_ms - earlier_ms) / 1000)
    return min(128, math.floor(math.log(seconds) / 0.301))


def hstu_layer(
    x: Array, weights: Weights, prefix: str, *, heads: int, longest: int, own: Sequence[int], until: Sequence[int]
) -> Array:
    """One block for one user: x [L, D], times in ms."""
    length, width = x.shape
    head = width // heads
    mixed = np.stack([silu(layer_norm(row, 1e-6) @ weights[prefix + "uvqk"]) for row in x])
    u, v, q, k = (mixed[:, part * width : (part + 1) * width] for part in range(4))
    rows = []
    for i in range(length):
        attended = np.zeros(width)
        for h in range(heads):
            mine = slice(h * head, (h + 1) * head)
            for j in range(i + 1):
                bias = 0.0
                if prefix + "position" in weights:
                    bias += weights[prefix + "position"][j - i + longest - 1]
                if prefix + "time" in weights:
                    bias += weights[prefix + "time"][bucket(until[i], own[j])]
                score = q[i, mine] @ k[j, mine] + bias
                attended[mine] += score / (1 + math.exp(-score)) / longest * v[j, mine]
        gated = u[i] * layer_norm(attended, 1e-6)
        rows.append(x[i] + weights[prefix + "output.weight"] @ gated + weights[prefix + "output.bias"])
    return np.stack(rows)


def hstu(
    x: Array,
    weights: Weights,
    *,
    layers: int,
    heads: int,
    longest: int,
    time_ms: Sequence[int],
    request_ms: int,
    time_bias: str = "next",
) -> Array:
    """The stack for one user: x [L, D] -> [L, D]."""
    until = list(time_ms) if time_bias == "same" else [*time_ms[1:], request_ms]
    x = x * math.sqrt(x.shape[1])
    for name in ("position", "position.weight"):
        if name in weights:
            x = x + weights[name][: len(x)]
    for layer in range(layers):
        x = hstu_layer(x, weights, f"layers.{layer}.", heads=heads, longest=longest, own=time_ms, until=until)
    return x


def below(weights: Weights, prefix: str) -> dict[str, Array]:
    """The weights of a part, by their names inside it."""
    return {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}


def item_parts(weights: Weights, codes: npt.NDArray[Any], item: int) -> Array:
    """[id | item features]."""
    parts = [weights["items.weight"][item]]
    for column, code in enumerate(codes[item]):
        parts.append(weights[f"items.features.{column}.weight"][code])
    return np.concatenate(parts)


def token(weights: Weights, codes: npt.NDArray[Any], item: int, action: int, context: Sequence[int]) -> Array:
    """MLP([id | item features | action | context features]): one matrix over the concatenation."""
    events = below(weights, "events.")
    parts = [item_parts(weights, codes, item), events["action.weight"][action]]
    parts += [events[f"context.{place}.weight"][code] for place, code in enumerate(context)]
    matrices = [events["from_item.weight"]] + [events[f"from_small.{n}.weight"] for n in range(1 + len(context))]
    hidden = silu(np.concatenate(matrices, axis=1) @ np.concatenate(parts) + events["from_item.bias"])
    result: Array = events["output.weight"] @ hidden + events["output.bias"]
    return result


def candidate(weights: Weights, codes: npt.NDArray[Any], item: int) -> Array:
    """MLP'([id | item features])."""
    mlp = below(weights, "candidates.mlp.")
    hidden = silu(mlp["0.weight"] @ item_parts(weights, codes, item) + mlp["0.bias"])
    result: Array = mlp["2.weight"] @ hidden + mlp["2.bias"]
    return result
