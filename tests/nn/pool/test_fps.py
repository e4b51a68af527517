"""Farthest point sampling against the greedy definition with the manifold's distance."""

import math
import re

import numpy as np
import pytest
import torch
from torch import Tensor

from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import fps

MANIFOLDS = (PoincareBall(0.7), Lorentz(1.6), Euclidean())
each_manifold = pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def cloud(manifold: Manifold, num: int, dim: int = 3, radius: float = 3.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(num, dim, generator=generator, dtype=torch.float64)
    v = v / v.norm(dim=1, keepdim=True) * radius * torch.rand(num, 1, generator=generator).double()
    return manifold.exp0(v)


def greedy(x: Tensor, count: int, manifold: Manifold) -> list[int]:
    """Each time the point with the largest distance to the origin and all chosen ones."""
    chosen: list[int] = []
    near = manifold.dist0(x).view(-1)
    for _ in range(count):
        left = [i for i in range(len(x)) if i not in chosen]
        chosen.append(max(left, key=lambda i: float(near[i])))
        near = torch.minimum(near, manifold.dist(x, x[chosen[-1]].expand_as(x)).view(-1))
    return chosen


@each_manifold
@each_dtype
@pytest.mark.parametrize("ratio", [0.05, 0.37, 1.0])
def test_it_is_the_greedy_choice_in_every_cloud(manifold, dtype, ratio):
    x = cloud(manifold, 90).to(dtype)
    sizes = [40, 1, 49]
    batch = torch.arange(3).repeat_interleave(torch.tensor(sizes))
    expected, first = [], 0
    for size in sizes:
        own = x[first : first + size].double()
        expected += [first + i for i in greedy(own, math.ceil(ratio * size), manifold)]
        first += size
    assert fps(x, batch, ratio, manifold=manifold).tolist() == expected


@each_manifold
@pytest.mark.parametrize("ratio", [0.05, 0.37, 1.0])
def test_clouds_of_one_size_need_no_batch_vector(manifold, ratio):
    x = cloud(manifold, 90)
    batch = torch.arange(3).repeat_interleave(30)
    expected = fps(x, batch, ratio, manifold=manifold)
    assert torch.equal(fps(x, ratio=ratio, manifold=manifold, batch_size=3), expected)
    assert torch.equal(
        fps(x, ratio=ratio, manifold=manifold, batch_size=1), fps(x, None, ratio, manifold=manifold)
    )


def test_clouds_of_one_size_leave_no_break_in_a_compiled_graph():
    x = cloud(PoincareBall(), 24)

    def sample(x: Tensor) -> Tensor:
        return x[fps(x, ratio=0.4, manifold=PoincareBall(), batch_size=2)]

    compiled = torch.compile(sample, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), sample(x))


@pytest.mark.parametrize(
    ("batch_size", "words"),
    [
        (4, "'batch_size' must divide the 10 points (got 4)"),
        (0, "'batch_size' must be at least 1 (got 0)"),
    ],
)
def test_mistakes_about_clouds_of_one_size_are_named(batch_size, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        fps(cloud(Euclidean(), 10), manifold=Euclidean(), batch_size=batch_size)


def test_beside_batch_vectors_their_number_is_not_needed_but_allowed():
    x, batch = cloud(PoincareBall(), 10), torch.arange(10) // 7
    expected = fps(x, batch, manifold=PoincareBall())
    assert torch.equal(fps(x, batch, manifold=PoincareBall(), batch_size=2), expected)


@each_manifold
def test_a_hyperbolic_sample_is_not_the_euclidean_one_of_its_coordinates(manifold):
    x = cloud(manifold, 200, radius=5.0)
    chosen = fps(x, ratio=0.2, manifold=manifold)
    flat = fps(x[:, -3:], ratio=0.2, manifold=Euclidean())
    assert torch.equal(chosen, flat) == isinstance(manifold, Euclidean)


def test_models_of_one_space_choose_the_same_points():
    v = 2 * torch.randn(64, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    ball, hyperboloid = PoincareBall(0.5), Lorentz(0.5)
    # A tangent vector of the ball is half as long: its metric at the origin is 4 x Euclidean.
    chosen = fps(ball.exp0(v / 2), ratio=0.5, manifold=ball)
    assert torch.equal(chosen, fps(hyperboloid.exp0(v), ratio=0.5, manifold=hyperboloid))


@each_manifold
def test_a_smaller_sample_is_the_beginning_of_a_larger_one(manifold):
    x = cloud(manifold, 64)
    half, quarter = (fps(x, ratio=r, manifold=manifold) for r in (0.5, 0.25))
    assert torch.equal(half[: len(quarter)], quarter)


@each_manifold
def test_the_order_of_the_points_does_not_matter(manifold):
    x = cloud(manifold, 64)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(order[fps(x[order], manifold=manifold)], fps(x, manifold=manifold))


@each_manifold
def test_duplicates_are_chosen_last_and_once(manifold):
    x = cloud(manifold, 5).repeat(3, 1)
    chosen = fps(x, ratio=1.0, manifold=manifold)
    assert sorted(chosen.tolist()) == list(range(15))
    assert sorted((chosen[:5] % 5).tolist()) == list(range(5))


@each_manifold
def test_empty_clouds_and_no_points(manifold):
    x = cloud(manifold, 4)
    first, second = fps(x, torch.tensor([1, 1, 3, 3]), manifold=manifold).tolist()
    radius = manifold.dist0(x).view(-1)
    assert first == int(radius[:2].argmax()) and second == 2 + int(radius[2:].argmax())
    assert fps(x[:0], manifold=manifold).shape == (0,)


def test_points_that_are_no_numbers_come_last():
    x = cloud(Euclidean(), 6)
    x[2, 1] = math.nan
    chosen = fps(x, ratio=1.0, manifold=Euclidean())
    assert sorted(chosen.tolist()) == list(range(6)) and int(chosen[-1]) == 2


@pytest.mark.parametrize("ratio", [0.0, -0.5, 1.01, math.nan])
def test_a_wrong_ratio_is_named(ratio):
    with pytest.raises(ValueError, match="'ratio' must be above 0 and at most 1"):
        fps(torch.zeros(3, 2), ratio=ratio, manifold=Euclidean())


def test_a_wrong_batch_is_named():
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="'batch' must be sorted"):
        fps(x, torch.tensor([0, 1, 0]), manifold=Euclidean())
    with pytest.raises(ValueError, match="'batch' must have one entry per point"):
        fps(x, torch.tensor([0, 1]), manifold=Euclidean())
    with pytest.raises(TypeError, match="'batch' must be a tensor of integers"):
        fps(x, torch.zeros(3), manifold=Euclidean())


@pytest.mark.parametrize(
    ("num", "ratio", "kept"), [(100, 0.55, 55), (50, 0.14, 7), (100, 0.28, 28)]
)
@pytest.mark.parametrize("batched", [False, True])
def test_a_whole_share_is_not_rounded_up(num, ratio, kept, batched):
    batch = torch.zeros(num, dtype=torch.long) if batched else None
    x = cloud(PoincareBall(), num)
    for share in (ratio, torch.tensor(ratio), np.float32(ratio)):  # 0.55000001
        assert len(fps(x, batch, share, manifold=PoincareBall())) == kept


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool], ids=str)
def test_batches_of_other_integers(dtype):
    x, batch = cloud(Euclidean(), 8), torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
    expected = fps(x, batch, manifold=Euclidean())
    assert torch.equal(fps(x, batch.to(dtype), manifold=Euclidean()), expected)
    with pytest.raises(ValueError, match="'batch' must be sorted and non-negative"):
        fps(x, batch - 1, manifold=Euclidean())
    assert torch.equal(fps(x, batch, torch.tensor(0.5), manifold=Euclidean()), expected)
    with pytest.raises(TypeError, match=r"'ratio' must be one number \(got shape \(2,\)\)"):
        fps(x, batch, torch.tensor([0.5, 0.25]), manifold=Euclidean())


@pytest.mark.parametrize("ratio", ["0.5", None, True])
def test_a_ratio_is_a_number(ratio):
    with pytest.raises(TypeError, match=rf"'ratio' must be a float \(got {ratio!r}\)"):
        fps(torch.zeros(3, 2), ratio=ratio, manifold=Euclidean())


@each_manifold
def test_a_random_start_is_followed_by_the_greedy_choice(manifold):
    """Without the origin: from the point drawn, each as far as can be from those before it."""
    x, batch = cloud(manifold, 60, radius=8.0), torch.arange(3).repeat_interleave(20)
    torch.manual_seed(0)
    for own in fps(x, batch, 0.4, manifold=manifold, random_start=True).view(3, 8).tolist():
        first = 20 * (own[0] // 20)
        near = torch.full((20,), math.inf, dtype=torch.float64)
        for i, following in zip(own, own[1:], strict=False):
            distance = manifold.dist(x[first : first + 20], x[i].expand(20, -1)).view(-1)
            near = torch.minimum(near, distance)
            assert following == first + int(near.argmax())


@pytest.mark.parametrize("batched", [True, False])
def test_any_point_of_a_cloud_may_be_drawn(batched):
    x = cloud(PoincareBall(), 8)
    given = {"batch": torch.arange(2).repeat_interleave(4)} if batched else {"batch_size": 2}
    torch.manual_seed(0)
    drawn = torch.stack(
        [fps(x, ratio=0.5, manifold=PoincareBall(), random_start=True, **given) for _ in range(400)]
    ).view(400, 2, 2)
    counts = torch.bincount(drawn[:, :, 0].flatten(), minlength=8)
    assert (counts - 100).abs().max() < 45  # 5 standard deviations of 400 draws of a quarter
    assert (drawn[:, 0, 0] != drawn[:, 1, 0] - 4).any()  # each cloud for itself
    torch.manual_seed(0)
    again = fps(x, ratio=0.5, manifold=PoincareBall(), random_start=True, **given)
    assert torch.equal(again, drawn[0].flatten())
