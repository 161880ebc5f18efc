"""The forward passes once more: NumPy, float64, loops, no padding, from the formulas of the papers.

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


def norm(x: Array, weights: Weights, prefix: str, eps: float) -> Array:
    """LayerNorm of every row, with its affine map."""
    rows = np.stack([layer_norm(row, eps) for row in x])
    result: Array = rows * weights[prefix + "weight"] + weights[prefix + "bias"]
    return result


def attention(q: Array, k: Array, v: Array, heads: int) -> Array:
    """Causal softmax attention for one user, [L, D] each."""
    head = q.shape[1] // heads
    out = np.zeros_like(q)
    for h in range(heads):
        mine = slice(h * head, (h + 1) * head)
        for i in range(len(q)):
            scores = np.array([q[i, mine] @ k[j, mine] / math.sqrt(head) for j in range(i + 1)])
            shares = np.exp(scores - scores.max())
            out[i, mine] = (shares / shares.sum()) @ v[: i + 1, mine]
    return out


def sasrec(x: Array, weights: Weights, *, layers: int, heads: int) -> Array:
    """SASRec's stack for one user: x [L, D] -> [L, D], without the last norm."""
    width = x.shape[1]
    x = x * math.sqrt(width) + weights["position.weight"][: len(x)]
    for layer in range(layers):
        mine = below(weights, f"layers.{layer}.")
        q = norm(x, mine, "attention_norm.", 1e-8)
        queries = q @ mine["query.weight"].T + mine["query.bias"]
        both = x @ mine["key_value.weight"].T + mine["key_value.bias"]
        attended = attention(queries, both[:, :width], both[:, width:], heads)
        z = norm(q + attended @ mine["mix.weight"].T + mine["mix.bias"], mine, "feed_norm.", 1e-8)
        hidden = np.maximum(z @ mine["feed.0.weight"].T + mine["feed.0.bias"], 0)
        x = z + hidden @ mine["feed.3.weight"].T + mine["feed.3.bias"]
    return x


def gru(x: Array, weights: Weights, *, layers: int) -> Array:
    """A stack of GRUs for one user: h' = (1 - z) n + z h."""
    for layer in range(layers):
        w_x, w_h = weights[f"gru.weight_ih_l{layer}"], weights[f"gru.weight_hh_l{layer}"]
        b_x, b_h = weights[f"gru.bias_ih_l{layer}"], weights[f"gru.bias_hh_l{layer}"]
        state, rows = np.zeros(w_h.shape[1]), []
        for row in x:
            x_r, x_z, x_n = np.split(w_x @ row + b_x, 3)
            h_r, h_z, h_n = np.split(w_h @ state + b_h, 3)
            r, z = 1 / (1 + np.exp(-(x_r + h_r))), 1 / (1 + np.exp(-(x_z + h_z)))
            state = (1 - z) * np.tanh(x_n + r * h_n) + z * state
            rows.append(state)
        x = np.stack(rows)
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
