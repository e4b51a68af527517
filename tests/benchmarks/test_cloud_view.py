import math

import pytest
import torch
from _cloud_view import CloudView, any_rotations, as_nodes, rotations

STILL = {
    "num_points": 8,
    "scale_low": 1.0,
    "scale_high": 1.0,
    "shift": 0.0,
    "jitter": 0.0,
    "rotate": "none",
    "subsample": "random",
}


def augmented(x, seed=0, **changes):
    return CloudView(STILL | changes).augmented(x, torch.Generator().manual_seed(seed))


def test_evaluation_takes_the_first_points():
    x = torch.randn(2, 20, 3)
    assert torch.equal(CloudView(STILL).plain(x), x[:, :8])
    assert torch.equal(augmented(x, subsample="first"), x[:, :8])


def test_training_draws_distinct_points_of_the_cloud():
    x = torch.arange(2 * 20 * 3.0).view(2, 20, 3)
    seen = augmented(x)
    for cloud, stored in zip(seen, x, strict=True):
        rows = (cloud[:, None] == stored[None]).all(-1)  # [8, 20]
        assert rows.sum(1).tolist() == [1] * 8
        assert rows.sum(0).max() == 1
    assert not torch.equal(seen, x[:, :8])
    assert not torch.equal(seen[0], seen[1] - 60)  # each cloud its own subset


def test_clouds_grow_from_the_first_number_of_points_to_all():
    x = torch.arange(2 * 20 * 3.0).view(2, 20, 3)
    for subsample in ("random", "first"):
        view = CloudView(STILL | {"first_points": 4, "subsample": subsample})
        sizes = []
        for progress in (0.0, 0.25, 0.5, 0.75, 1.0):
            seen = view.augmented(x, torch.Generator().manual_seed(0), progress)
            assert ((seen[:, :, None] == x[:, None]).all(-1).sum(1) <= 1).all()  # distinct
            sizes.append(seen.size(1))
        assert sizes == [4, 5, 6, 7, 8]
        assert view.plain(x).size(1) == 8  # evaluation sees all from the start


@pytest.mark.parametrize("num_points", [8, 20])
def test_each_cloud_keeps_its_own_number_of_points(num_points):
    x = torch.arange(300 * 20 * 3.0).view(300, 20, 3)
    seen = augmented(x, num_points=num_points, fewest_points=5)
    there = ~seen.isnan()
    assert torch.equal(there, there[..., :1].expand_as(there))  # a point is there or is not
    assert set(there[..., 0].sum(1).tolist()) == set(range(5, num_points + 1))
    rows = (seen[:, :, None] == x[:, None]).all(-1)
    assert torch.equal(rows.sum(2), there[..., 0].long())  # what is there is the cloud's own
    assert rows.sum(1).max() == 1
    assert (rows.sum((0, 1)) > 50).all()  # any of the stored points may be among them


def test_the_fewest_points_wait_until_clouds_have_grown():
    x = torch.randn(50, 20, 3)
    view = CloudView(STILL | {"first_points": 4, "fewest_points": 6})
    sizes = {}
    for progress in (0.0, 0.5, 1.0):
        seen = view.augmented(x, torch.Generator().manual_seed(0), progress)
        sizes[progress] = set((~seen[..., 0].isnan()).sum(1).tolist())
    assert sizes == {0.0: {4}, 0.5: {6}, 1.0: {6, 7, 8}}
    assert not view.plain(x).isnan().any()


def test_all_randomness_comes_from_the_generator():
    x = torch.randn(2, 20, 3)
    changes = {"scale_low": 0.5, "shift": 0.3, "jitter": 0.1, "rotate": "z"}
    first = augmented(x, **changes)
    torch.manual_seed(1)
    assert torch.equal(first, augmented(x, **changes))
    assert not torch.equal(first, augmented(x, seed=1, **changes))


def test_scale_and_shift_are_per_cloud_and_axis_and_in_range():
    x = torch.ones(50, 8, 3)
    scaled = augmented(x, scale_low=0.5, scale_high=2.0)
    assert torch.equal(scaled, scaled[:, :1].expand_as(scaled))
    assert 0.5 <= scaled.min() < 0.6
    assert 1.9 < scaled.max() <= 2.0
    assert not torch.equal(scaled[..., 0], scaled[..., 1])
    shifted = augmented(torch.zeros(50, 8, 3), shift=0.3)
    assert torch.equal(shifted, shifted[:, :1].expand_as(shifted))
    assert -0.3 <= shifted.min() < -0.25
    assert 0.25 < shifted.max() <= 0.3


def test_jitter_is_per_coordinate():
    noise = augmented(torch.zeros(50, 8, 3), jitter=0.1)
    assert noise.std().item() == pytest.approx(0.1, rel=0.1)
    assert noise.unique().numel() == noise.numel()


@pytest.mark.parametrize(("axis", "fixed"), [("z", 2), ("y", 1)])
def test_rotations(axis, fixed):
    matrix = rotations(torch.tensor([0.3, math.pi / 2]), axis)
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(3).expand(2, 3, 3))
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(2))
    assert torch.equal(matrix[:, fixed], torch.eye(3)[fixed].expand(2, 3))
    assert matrix.diagonal(dim1=1, dim2=2).sum(1).tolist() == pytest.approx(
        [1 + 2 * math.cos(0.3), 1.0]
    )
    x = torch.randn(4, 8, 3)
    turned = augmented(x, rotate=axis)
    torch.testing.assert_close(turned[..., fixed], x[..., fixed])
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert (turned - x).abs().max() > 0.1


def test_as_nodes_keeps_clouds_together():
    x = torch.arange(12.0).view(2, 2, 3)
    pos, batch = as_nodes(x)
    assert batch.tolist() == [0, 0, 1, 1]
    assert pos[2:].tolist() == x[1].tolist()


def test_as_nodes_leaves_out_what_is_no_point():
    x = torch.arange(18.0).view(2, 3, 3)
    x[0, 1:] = torch.nan
    pos, batch = as_nodes(x)
    assert batch.tolist() == [0, 1, 1, 1]
    assert pos.tolist() == [x[0, 0].tolist(), *x[1].tolist()]


def test_any_rotations_turn_and_do_not_reflect():
    matrix = any_rotations(
        torch.randn(2000, 4, generator=torch.Generator().manual_seed(0)).double()
    )
    identity = torch.eye(3).double().expand_as(matrix)
    torch.testing.assert_close(matrix @ matrix.mT, identity)
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(2000).double())
    # uniform: every entry has mean 0 and mean square 1/3; 4 standard errors
    assert matrix.mean(0).abs().max() < 4 * (1 / 3 / 2000) ** 0.5
    assert (matrix.square().mean(0) - 1 / 3).abs().max() < 4 * (4 / 45 / 2000) ** 0.5


def test_clouds_are_turned_about_any_axis():
    x = torch.eye(3).expand(50, -1, -1)
    turned = augmented(x, rotate="so3")
    torch.testing.assert_close(turned @ turned.mT, torch.eye(3).expand(50, -1, -1))
    assert (turned.std(0) > 0.3).all()


def test_jitter_is_cut_at_five_deviations(monkeypatch):
    monkeypatch.setattr(torch, "randn", lambda shape, **how: torch.full(shape, -9.0))
    assert torch.equal(augmented(torch.zeros(1, 8, 3), jitter=0.5), torch.full((1, 8, 3), -2.5))


@pytest.mark.parametrize("change", [{"rotate": "so3"}, {"fewest_points": 4}], ids=str)
def test_turns_and_sizes_come_from_the_generator_too(change):
    x = torch.randn(20, 20, 3)
    first = augmented(x, **change)
    torch.manual_seed(1)
    torch.testing.assert_close(augmented(x, **change), first, rtol=0, atol=0, equal_nan=True)
