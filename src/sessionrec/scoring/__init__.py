"""Queries x catalogue, some questions at a time: the rank of every target by counting, and the best k items.

In: a `Scorer`, which writes the scores of some questions into a block of memory; a model's is `DotScorer`, a floor
brings its own. Out: ranks of targets for metrics, item indices for answers. Memory is bounded by the block, whatever
the number of questions; nothing is sorted for a rank. Evaluation and exact retrieval both stand on this file.

    candidate column    0  1  2 ... V-1       the items 1 to V that have a training event
    item index       0  1  2  3 ... V  V+1 ...    0 = unknown; beyond V = never trained; neither can be found

Ties count against us: a target stands behind every candidate with an equal score, other targets of the same question
among them. An excluded item (seen before, where a protocol filters such) does not count; a target that is excluded can
never be shown, so its rank is `MISS`, like that of a target that is no candidate.

Letters: Q questions, V candidates, D width, T targets of all questions, C answers a question, P pairs.
"""

from sessionrec.scoring.block import Block
from sessionrec.scoring.blockwise import BLOCK_BYTES, Memory, TopK, ranks, search, top_k
from sessionrec.scoring.counting import MISS
from sessionrec.scoring.scorer import DotScorer, ListScorer, Ranker, Scorer, list_scores

__all__ = [
    "BLOCK_BYTES",
    "MISS",
    "Block",
    "DotScorer",
    "ListScorer",
    "Memory",
    "Ranker",
    "Scorer",
    "TopK",
    "list_scores",
    "ranks",
    "search",
    "top_k",
]
