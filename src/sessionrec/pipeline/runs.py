"""What lies where in the folder of a run.

run/metrics.jsonl     a line an epoch
run/last, run/best    checkpoints: to go on from, and of the best epoch
run/model             the trained model: all that answering needs
run/evaluation        figures of the model and the floors on whole test sessions, some users' answers
run/evaluation-...    the same for other questions, such as validation or leave-one-item-out
run/index             the items, ready to be searched
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of a run."""

    path: Path

    @property
    def model(self) -> Path:
        """Artifact `model`."""
        return self.path / "model"

    def evaluation(self, part: str, targets: str, seen: str, known: str) -> Path:
        """Artifact `evaluation`; each kind of question has its own, whole test sessions the one with the plain name."""
        if (part, targets, seen, known) == ("test", "session", "kept", "parts"):
            return self.path / "evaluation"
        return self.path / "-".join(["evaluation", part, targets, seen, *([] if known == "parts" else [known])])

    @property
    def index(self) -> Path:
        """Artifact `index`."""
        return self.path / "index"

    @property
    def is_run(self) -> bool:
        """Whether there is a trained model."""
        return (self.model / "manifest.json").is_file()
