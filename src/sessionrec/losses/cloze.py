"""Masked training (BERT4Rec): of all positions that could be asked for, some are, drawn anew for each batch.

Letters: B users, Q questions.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sessionrec.batch import Targets
from sessionrec.jagged import Jagged


def draw_hidden(targets: Targets, share: float, generator: torch.Generator) -> Targets:
    """The questions that are asked this time; the rest is in sight.

    Each is drawn with probability `share`, and of a user for whom none was, the one that came nearest. Costs Q random
    numbers.

    Args:
        targets: All that can be asked, on the host.
        share: Between 0 and 1.
        generator: Of the draw.
    """
    number_Q = torch.rand(len(targets.user_Q), generator=generator)
    smallest_B = torch.full((int(targets.user_Q.max()) + 1 if len(targets.user_Q) else 0,), 2.0)
    smallest_B = smallest_B.scatter_reduce(0, targets.user_Q, number_Q, "amin")
    is_asked_Q = (number_Q < share) | (number_Q == smallest_B[targets.user_Q])
    return replace(
        targets,
        user_Q=targets.user_Q[is_asked_Q],
        num_before_Q=targets.num_before_Q[is_asked_Q],
        time_ms_Q=targets.time_ms_Q[is_asked_Q],
        positives=_kept(targets.positives, is_asked_Q),
        negatives=_kept(targets.negatives, is_asked_Q),
    )


def _kept(side: Jagged[Tensor], is_kept_Q: Tensor) -> Jagged[Tensor]:
    is_kept_E = torch.repeat_interleave(is_kept_Q, side.lengths, output_size=len(side.values))
    offsets = side.offsets.new_zeros(int(is_kept_Q.sum()) + 1)
    torch.cumsum(side.lengths[is_kept_Q], 0, out=offsets[1:])
    return Jagged(values=side.values[is_kept_E], offsets=offsets)
