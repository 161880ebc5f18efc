from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from sessionrec.model.config import ModelConfig
from sessionrec.model.recommender import Recommender
from sessionrec.train.optim import OptimConfig, Optimizer, RowAdam, touched_rows
from tests.model.helpers import a_user, catalogue, examples_of, shake

V, D = 7, 3


def a_table(dtype: torch.dtype = torch.float64) -> nn.Parameter:
    return nn.Parameter(torch.randn(V, D, dtype=dtype, generator=torch.Generator().manual_seed(0)))


def gradient(rows: Sequence[int], seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """[V, D] sparse, values at some rows."""
    values = torch.randn(len(rows), D, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return torch.sparse_coo_tensor(torch.tensor([list(rows)]), values, (V, D), check_invariants=True)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("betas", [(0.9, 0.98), (0.9, 0.999), (0.0, 0.5)])
def test_touching_all_rows_every_step_it_is_adam(
    dtype: torch.dtype, tolerance: float, betas: tuple[float, float]
) -> None:
    ours, theirs = a_table(dtype), a_table(dtype)
    rows = RowAdam([ours], OptimConfig(beta1=betas[0], beta2=betas[1]))
    adam = torch.optim.Adam([theirs], betas=betas)
    for step in range(20):
        rate = 1e-2 / (1 + step)
        ours.grad = gradient(range(V), step, dtype)
        theirs.grad = gradient(range(V), step, dtype).to_dense()
        adam.param_groups[0]["lr"] = rate
        adam.step()
        rows.step(rate)
        assert ours.grad is None
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_rows_that_are_not_touched_do_not_move_nor_do_their_moments() -> None:
    table = a_table()
    rows = RowAdam([table], OptimConfig())
    table.grad = gradient(range(V), 0)
    rows.step(1e-2)
    before = [table.detach().clone(), *(tensor.clone() for tensor in rows.state_dict().values())]
    table.grad = gradient([1, 4], 1)
    rows.step(1e-2)
    after = [table.detach(), *rows.state_dict().values()]
    still = [0, 2, 3, 5, 6]
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one[still], other[still])
        assert (one[[1, 4]] != other[[1, 4]]).all()


def test_each_row_is_adam_on_the_steps_that_touch_it() -> None:
    """Rows come and go; each equals an Adam of its own that knows of its own steps alone."""
    table = a_table()
    rows = RowAdam([table], OptimConfig(beta1=0.9, beta2=0.98))
    expected = [row.tolist() for row in table.detach()]
    moments = [[(0.0, 0.0)] * D for _ in range(V)]
    counts = [0] * V
    touched = [[0, 3], [3], [0, 1, 2, 3], [], [6], [3, 6], [0, 2, 4, 6], [5], [3]]
    for step, now in enumerate(touched):
        rate = 1e-2 / (1 + step)
        table.grad = gradient(now, step)
        values = table.grad._values().tolist()
        rows.step(rate)
        for row, grads in zip(now, values, strict=True):
            counts[row] += 1
            for d, grad in enumerate(grads):
                m, v = moments[row][d]
                m, v = 0.9 * m + 0.1 * grad, 0.98 * v + 0.02 * grad**2
                moments[row][d] = m, v
                m_hat, v_hat = m / (1 - 0.9 ** counts[row]), v / (1 - 0.98 ** counts[row])
                expected[row][d] -= rate * m_hat / (math.sqrt(v_hat) + 1e-8)
    torch.testing.assert_close(table.detach(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def test_the_first_step_of_a_rare_row_is_a_full_one() -> None:
    table = a_table()
    start = table.detach().clone()
    rows = RowAdam([table], OptimConfig())
    for step in range(50):
        table.grad = gradient([0], step)
        rows.step(1e-2)
    table.grad = gradient([5], 99)
    rows.step(1e-2)
    torch.testing.assert_close((table.detach() - start)[5].abs(), torch.full((D,), 1e-2).double(), rtol=1e-5, atol=0)


def test_parts_of_a_gradient_at_the_same_row_are_added() -> None:
    twice = torch.sparse_coo_tensor(
        torch.tensor([[4, 1, 4]]), torch.tensor([[1.0], [2.0], [10.0]]), (V, 1), check_invariants=True
    )
    rows, values = touched_rows(twice)
    assert rows.tolist() == [1, 4] and values.tolist() == [[2.0], [11.0]]
    rows, values = touched_rows(twice.coalesce())
    assert rows.tolist() == [1, 4] and values.tolist() == [[2.0], [11.0]]


def test_a_dense_gradient_of_a_table_is_refused() -> None:
    table = a_table()
    table.grad = torch.ones_like(table)
    with pytest.raises(ValueError, match="expected a sparse gradient"):
        RowAdam([table], OptimConfig()).step(1e-2)


def test_tables_without_a_gradient_stay() -> None:
    table = a_table()
    rows = RowAdam([table], OptimConfig())
    rows.step(1e-2)
    table.grad = gradient([], 0)
    rows.step(1e-2)
    assert torch.equal(table, a_table())


def a_model(backbone: str = "hstu", *, is_sparse: bool = True, dropout: float = 0.0) -> Recommender:
    config = ModelConfig.model_validate(
        {"width": 4, "max_sessions": 8, "dropout": dropout, "sparse_tables": is_sparse, "backbone": {"kind": backbone}}
    )
    model = config.build(catalogue()).train()
    shake(model, std=0.2)
    return model


def tables(model: Recommender) -> list[nn.Parameter]:
    return [model.items.weight] if model.items.is_sparse else []


def backward(model: Recommender, seed: int = 0) -> None:
    examples = examples_of([a_user(seed, 5), a_user(seed + 1, 3)])
    query_QD, vectors_UD, (places,) = model(examples, [examples.targets.positives.values])
    torch.autograd.backward(((query_QD - vectors_UD[places]) ** 2).sum())


@pytest.mark.parametrize("is_sparse", [True, False])
@pytest.mark.parametrize("backbone", ["hstu", "transformer", "gru"])
def test_matrices_decay_and_lookups_biases_and_norms_do_not(backbone: str, is_sparse: bool) -> None:
    """Learned positions and a dense item table used to decay like matrices."""
    model = a_model(backbone, is_sparse=is_sparse)
    optimizer = Optimizer(model, tables(model), OptimConfig(weight_decay=0.1))
    decay = {id(p): group["weight_decay"] for group in optimizer.dense.param_groups for p in group["params"]}
    decay |= {id(table): 0.0 for table in optimizer.rows.tables}
    decayed = {name for name, p in model.named_parameters() if decay[id(p)] == 0.1}
    assert len(decay) == len(list(model.parameters()))
    spared = {name for name, _ in model.named_parameters()} - decayed
    maps = ["from_item.weight", "from_small", "output.weight", "mlp.0.weight", "mlp.2.weight", "uvqk", "qkv.weight"]
    maps += ["mix.weight", "feed.0.weight", "feed.2.weight", "gru.weight"]
    assert all(any(part in name for part in maps) for name in decayed), decayed
    assert not any(any(part in name for part in maps) for name in spared), spared


@pytest.mark.parametrize("is_sparse", [True, False])
def test_a_step_is_adamw_of_torch_with_tables_by_row(is_sparse: bool) -> None:
    """With a gradient at every row and no decay: all parameters as torch's Adam."""
    ours, theirs = a_model(is_sparse=is_sparse), a_model(is_sparse=False)
    optimizer = Optimizer(ours, tables(ours), OptimConfig(learning_rate=1e-2))
    adam = torch.optim.Adam(theirs.parameters(), lr=1e-2, betas=(0.9, 0.98))
    backward(ours)
    backward(theirs)
    optimizer.step()
    adam.step()
    assert all(p.grad is None for p in ours.parameters())
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=2e-6), name


def test_warm_up_is_linear_and_reaches_tables_too() -> None:
    model = a_model()
    optimizer = Optimizer(model, tables(model), OptimConfig(learning_rate=1e-2, warmup_steps=4))
    moved = []
    for step in range(6):
        item = torch.tensor([step + 1])
        before = model.items.weight.detach()[item].clone()
        torch.autograd.backward(model.items.rows(item).parts_UX.sum())
        for module in (model.backbone, model.norm):
            for parameter in module.parameters():
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        moved.append(float((model.items.weight.detach()[item] - before).abs().max()))
        assert optimizer.dense.param_groups[0]["lr"] == pytest.approx(1e-2 * min(1, (step + 1) / 4))
    # Each row is touched for the first time, and Adam's first step is the rate.
    assert moved == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01], rel=1e-4)


def test_a_cosine_falls_from_the_end_of_the_warm_up_to_nothing() -> None:
    model = a_model()
    config = OptimConfig(learning_rate=1e-2, warmup_steps=4, schedule="cosine")
    optimizer = Optimizer(model, tables(model), config, num_steps=12)
    # 4 steps up, 8 down: half way after 4 of them.
    rates = [optimizer.rate(step) for step in range(1, 14)]
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert rates[5] == pytest.approx(0.01 * (1 + math.cos(math.pi / 4)) / 2)
    assert rates[7] == pytest.approx(0.005)
    assert rates[11] == rates[12] == 0.0
    assert rates[3:12] == sorted(rates[3:12], reverse=True)
    backward(model)
    optimizer.step()
    assert optimizer.dense.param_groups[0]["lr"] == rates[0]


@pytest.mark.parametrize("num_steps", [None, 4])
def test_a_cosine_without_room_to_fall_is_refused(num_steps: int | None) -> None:
    config = OptimConfig(warmup_steps=4, schedule="cosine")
    with pytest.raises(ValueError, match="needs `num_steps` above the 4 of the warm-up"):
        Optimizer(a_model(), [], config, num_steps=num_steps)


def test_a_norm_is_told_only_where_it_is_measured() -> None:
    model = a_model()
    optimizer = Optimizer(model, tables(model), OptimConfig())
    backward(model)
    assert math.isnan(optimizer.step())


def test_dense_tables_are_moved_by_adamw_like_everything_else() -> None:
    model = a_model(is_sparse=False)
    optimizer = Optimizer(model, [], OptimConfig(weight_decay=0.1))
    assert optimizer.rows.tables == []
    groups = {id(p): group["weight_decay"] for group in optimizer.dense.param_groups for p in group["params"]}
    assert groups[id(model.items.weight)] == 0.0
    before = model.items.weight.detach().clone()
    backward(model)
    grad = model.items.weight.grad
    assert grad is not None and not grad.is_sparse
    is_touched = grad.ne(0).any(1)
    optimizer.step()
    assert is_touched.any() and not is_touched.all()
    assert torch.equal((model.items.weight != before).any(1), is_touched)


def test_tables_that_the_caller_forgets_are_known_from_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large tables of item features have sparse gradients too, which AdamW would refuse."""
    monkeypatch.setattr("sessionrec.model.embed._LARGE_FEATURE", 4)
    model = a_model()
    brand = next(model.items.features[0].parameters())
    for given in ([], [model.items.weight]):
        optimizer = Optimizer(model, given, OptimConfig())
        assert [id(table) for table in optimizer.rows.tables] == [id(model.items.weight), id(brand)]
    before = brand.detach().clone()
    backward(model)
    optimizer.step()
    assert (brand != before).any()


def test_clipping_bounds_the_norm_of_dense_gradients() -> None:
    model = a_model()
    optimizer = Optimizer(model, tables(model), OptimConfig(clip_norm=1e-3))
    backward(model)
    dense = [p for p in model.parameters() if p is not model.items.weight and p.grad is not None]
    norm = math.sqrt(sum(float((p.grad**2).sum()) for p in dense if p.grad is not None))
    assert optimizer.step() == pytest.approx(norm, rel=1e-5)
    mean_norm = math.sqrt(sum(float((optimizer.dense.state[p]["exp_avg"] ** 2).sum()) for p in dense))
    assert mean_norm == pytest.approx(0.1 * 1e-3, rel=1e-3)


@pytest.mark.parametrize("is_sparse", [True, False])
def test_stopped_and_resumed_it_goes_on_bit_for_bit(is_sparse: bool) -> None:
    config = OptimConfig(learning_rate=1e-2, weight_decay=0.1, warmup_steps=5, clip_norm=1.0)
    whole = a_model(is_sparse=is_sparse)
    optimizer = Optimizer(whole, tables(whole), config)
    for step in range(3):
        backward(whole, step)
        optimizer.step()
    resumed = a_model(is_sparse=is_sparse)
    resumed.load_state_dict({name: weight.clone() for name, weight in whole.state_dict().items()})
    second = Optimizer(resumed, tables(resumed), config)
    second.load_state_dict({name: tensor.clone() for name, tensor in optimizer.state_dict().items()})
    for step in range(3, 6):
        backward(whole, step)
        backward(resumed, step)
        assert optimizer.step() == second.step()
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
