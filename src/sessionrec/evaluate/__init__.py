"""How good answers are: ranks of targets -> metrics, their intervals, and a report that names its protocol."""

from sessionrec.evaluate.evaluator import evaluate
from sessionrec.evaluate.facts import ItemFacts
from sessionrec.evaluate.metrics import RANK_METRICS
from sessionrec.evaluate.protocol import EvalProtocol
from sessionrec.evaluate.quality import quality_of
from sessionrec.evaluate.report import EvalReport
from sessionrec.evaluate.significance import Difference, Interval, compare, interval

__all__ = [
    "RANK_METRICS",
    "Difference",
    "EvalProtocol",
    "EvalReport",
    "Interval",
    "ItemFacts",
    "compare",
    "evaluate",
    "interval",
    "quality_of",
]
