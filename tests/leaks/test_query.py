"""What the query of a question knows of the session it is asked about: when it begins, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sessionrec.batch import Examples
from sessionrec.data.view import evaluation_view
from sessionrec.pipeline import fit
from sessionrec.pipeline.training import presets
from sessionrec.recommend import artifact
from sessionrec.recommend.ranker import ModelRanker
from tests.leaks.logs import ITEMS, asked, made, past, settings, with_other_future


@pytest.mark.parametrize("preset", ["paper", "hstu"])
def test_of_the_target_session_the_query_knows_its_start_and_nothing_else(preset: str, tmp_path: Path) -> None:
    rows = with_other_future(past(), "test", "leave_last_session", 1)
    last = {row.user: row.session for row in rows}
    altered = [
        replace(row, item=f"i{7 * place % ITEMS:02d}", event="buy", device="web", price=3.0, gift=1)
        if row.session == last[row.user]
        else row
        for place, row in enumerate(rows)
    ]
    later = [replace(row, time=row.time + 20 * 3600) if row.session == last[row.user] else row for row in rows]
    datasets = {
        name: made(tmp_path / name, some, "leave_last_session", 1)
        for name, some in (("as it was", rows), ("altered", altered), ("later", later))
    }
    fit(datasets["as it was"], tmp_path / "run", settings(preset))
    model = artifact.load(tmp_path / "run")
    ranker = ModelRanker(model.recommender, model.num_candidates)
    view = evaluation_view(model.view, "test", "session")
    queries = {name: ranker.queries(next(asked(dataset, view))) for name, dataset in datasets.items()}
    assert torch.equal(queries["altered"], queries["as it was"])
    # The start is known when the request comes; HSTU's time bias looks at it, in coarse buckets: 24 h and 44 h differ.
    assert not torch.equal(queries["later"], queries["as it was"])


# BERT4Rec sees both ways in training and is asked for what a mask hides: there is no before and after.
@pytest.mark.parametrize("preset", [name for name in sorted(presets()) if name != "bert4rec"])
def test_in_training_a_query_knows_nothing_of_the_sessions_it_is_asked_about(preset: str, tmp_path: Path) -> None:
    dataset = made(tmp_path / "log", past(), "leave_last_session", 1)
    fit(dataset, tmp_path / "run", settings(preset))
    model = artifact.load(tmp_path / "run")
    ranker = ModelRanker(model.recommender, model.num_candidates)
    inputs, targets = next(asked(dataset, model.view))
    # The last input of every user becomes another: other items, actions and features.
    is_last_S = torch.zeros(len(inputs.session_time_ms_S), dtype=torch.bool)
    is_last_S[inputs.user_offsets[1:] - 1] = True
    is_last_E = torch.repeat_interleave(is_last_S, torch.diff(inputs.session_offsets))
    scrambled = replace(
        inputs,
        item_E=torch.where(is_last_E, inputs.item_E % ITEMS + 1, inputs.item_E),
        action_E=torch.where(is_last_E, inputs.action_E ^ 2, inputs.action_E),
        features={name: torch.where(is_last_E, 1, values) for name, values in inputs.features.items()},
    )
    before = ranker.queries(Examples(inputs, targets))
    after = ranker.queries(Examples(scrambled, targets))
    sessions_B = torch.diff(inputs.user_offsets)
    sees_Q = targets.num_before_Q == sessions_B[targets.user_Q]
    assert sees_Q.any()
    assert not sees_Q.all()
    torch.testing.assert_close(after[~sees_Q], before[~sees_Q], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(after[sees_Q], before[sees_Q], atol=1e-4)
