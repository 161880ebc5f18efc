"""A run that is killed again and again ends with the weights of the run that was left alone."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sessionrec.config import load
from sessionrec.data.dataset import Dataset
from sessionrec.pipeline import fit, load_fit_config, prepare
from sessionrec.pipeline.data import DataConfig
from sessionrec.recommend import artifact
from tests.shop import SMALL, write_shop

KILLS = 20
FIELDS = [*SMALL, "model.dropout=0.2", "training.epochs=40", "training.patience=40", "training.checkpoint_steps=3"]

# Tells every step, so that the kill falls into training and not into the start of Python.
SCRIPT = """
import sys
from sessionrec.data.dataset import Dataset
from sessionrec.pipeline import fit, load_fit_config

class Tell:
    def step(self, step):
        print("step", flush=True)
    def epoch(self, line):
        print("epoch", flush=True)

fit(Dataset(sys.argv[1]), sys.argv[2], load_fit_config(None, None, sys.argv[3:]), monitors=(Tell(),))
print("done", flush=True)
"""


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    prepare(load(DataConfig, write_shop(tmp_path)), tmp_path / "data")
    fit(Dataset(tmp_path / "data"), tmp_path / "whole", load_fit_config(None, None, FIELDS))
    draw, kills, lives, has_ended = random.Random(7), 0, 0, False
    while not has_ended:
        lives += 1
        assert lives < 60, "a run that is killed must get on between the kills"
        words = [sys.executable, "-c", SCRIPT, str(tmp_path / "data"), str(tmp_path / "cut"), *FIELDS]
        steps = draw.randint(1, 14) if kills < KILLS else None
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                has_ended |= line == "done\n"
                if steps is None:
                    continue
                steps -= 1
                if steps == 0:
                    # Anywhere: between two steps, in the middle of one, while a checkpoint is written.
                    time.sleep(draw.uniform(0, 0.03))
                    process.send_signal(signal.SIGKILL)
                    kills += 1
    assert kills == KILLS
    whole, cut = artifact.load(tmp_path / "whole"), artifact.load(tmp_path / "cut")
    for name, weight in whole.recommender.state_dict().items():
        assert torch.equal(weight, cut.recommender.state_dict()[name]), name
    told = [(tmp_path / name / "metrics.jsonl").read_text(encoding="utf-8") for name in ("whole", "cut")]
    assert len(told[0].splitlines()) == len(told[1].splitlines()) == 40
