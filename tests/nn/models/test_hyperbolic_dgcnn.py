"""HyperbolicDGCNN: size, twin, initial radii, symmetries of clouds, learning."""

import copy
import re

import pytest
import torch
from torch import Tensor

from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import HyperbolicDGCNN, fps, knn
from torch_geometric_hyperbolic.testing import assert_close, assert_on_manifold

SPACES = [PoincareBall(1.0), Lorentz(1.0), Euclidean()]
each_space = pytest.mark.parametrize("manifold", SPACES, ids=str)

FORMS = {
    "flat": {},
    "flat over positions": {"dynamic": False},
    "hierarchy": {"ratios": (1, 0.5), "dynamic": False, "head_channels": 0},
    "dynamic hierarchy": {"ratios": (0.9, 0.6)},
}
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)

BATCH = torch.arange(3).repeat_interleave(16)


def count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def make_model(manifold: Manifold, **kwargs: object) -> HyperbolicDGCNN:
    sizes = {"hidden_channels": (8, 16), "emb_channels": 16, "head_channels": 8, "k": 4}
    return HyperbolicDGCNN(3, 5, **{**sizes, **kwargs}, manifold=manifold)


def clouds_in_unit_sphere(number: int = 48) -> Tensor:
    pos = torch.randn(number, 3)
    return pos / pos.norm(dim=-1).max()


def trained_statistics(model: HyperbolicDGCNN) -> HyperbolicDGCNN:
    """Evaluation mode, with running statistics that are not the initial ones."""
    model(clouds_in_unit_sphere(), BATCH)
    return model.eval()


@each_space
def test_default_size_is_what_the_docstring_says(manifold):
    stated = int(re.search(r"has ([\d,]+) parameters", HyperbolicDGCNN.__doc__)[1].replace(",", ""))
    assert count(HyperbolicDGCNN(out_channels=40, manifold=manifold)) == stated <= 85_000


@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
def test_a_learnable_curvature_is_one_more_parameter_shared_by_all_layers(space):
    manifold = space(0.5, learnable=True)
    model = HyperbolicDGCNN(manifold=manifold)
    assert count(model) == count(HyperbolicDGCNN(manifold=space(0.5))) + 1
    assert all(conv.manifold is manifold for conv in model.convs)


@each_space
def test_euclidean_twin_has_the_same_parameters_and_statistics(manifold):
    model, twin = HyperbolicDGCNN(manifold=manifold), HyperbolicDGCNN(manifold=Euclidean())
    for kind in ("named_parameters", "named_buffers"):
        shapes = [{n: t.shape for n, t in getattr(m, kind)()} for m in (model, twin)]
        assert shapes[0] == shapes[1]
        assert shapes[0]


def test_state_dict_restores_the_function(tmp_path):
    model = trained_statistics(make_model(PoincareBall(2.0, learnable=True)))
    torch.save(model.state_dict(), tmp_path / "state.pt")
    other = make_model(PoincareBall(1.0, learnable=True)).eval()
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    pos = clouds_in_unit_sphere()
    assert torch.equal(other(pos, BATCH), model(pos, BATCH))


@pytest.mark.parametrize("c", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("space", [PoincareBall, Lorentz, lambda c: Euclidean()])
def test_initial_radii_are_moderate_in_every_layer(space, c):
    model = HyperbolicDGCNN(manifold=space(c))
    pos, batch = clouds_in_unit_sphere(128), torch.arange(2).repeat_interleave(64)
    radii = model.radii(pos, batch)
    assert list(radii) == ["input", "conv1", "conv2", "conv3", "conv4"]
    assert all(0.1 < radius < 3 for radius in radii.values()), radii


@each_space
def test_radii_are_mean_distances_from_the_origin(manifold):
    model = trained_statistics(make_model(manifold))
    pos = clouds_in_unit_sphere()
    points = model.points(pos, BATCH)
    expected = {
        name: manifold.dist(manifold.origin(x.size(0), n), x).mean().item()
        for name, x, n in zip(("input", "conv1", "conv2"), points, (3, 8, 16), strict=True)
    }
    assert model.radii(pos, BATCH) == pytest.approx(expected, rel=1e-5)
    for x in points:
        assert_on_manifold(x, manifold)


def test_the_hyperboloid_of_four_times_the_curvature_is_the_same_network():
    spaces = (PoincareBall(0.7), Lorentz(4 * 0.7), Lorentz(0.7))
    models = [make_model(space, dropout=0.0).double() for space in spaces]
    ball, hyperboloid, other = models
    for model in (hyperboloid, other):
        model.load_state_dict(ball.state_dict() | own_state(model))
    pos = clouds_in_unit_sphere().double()
    assert_close(hyperboloid(pos, BATCH), ball(pos, BATCH))
    assert (other(pos, BATCH) - ball(pos, BATCH)).abs().max() > 1e-4
    radii = ball.radii(pos, BATCH)
    twice = {name: 2 * radius for name, radius in hyperboloid.radii(pos, BATCH).items()}
    assert radii == pytest.approx(twice)


def own_state(model: HyperbolicDGCNN) -> dict[str, object]:
    """What a state tells of the manifold."""
    return {key: value for key, value in model.state_dict().items() if "_extra_state" in key}


@pytest.mark.parametrize("name", ["radii", "embedding"])
def test_looking_at_points_does_not_change_the_model(name):
    model = make_model(PoincareBall())
    before = copy.deepcopy(model.state_dict())
    getattr(model, name)(clouds_in_unit_sphere(), BATCH)
    assert model.training
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize("name", ["radii", "embedding"])
def test_looking_at_points_does_not_disturb_a_backward_pass(name):
    model = make_model(PoincareBall(), dropout=0.0)
    pos = clouds_in_unit_sphere()

    def gradients(look: bool) -> tuple[Tensor, ...]:
        loss = model(pos, BATCH).square().sum()
        if look:
            getattr(model, name)(pos, BATCH)
        return torch.autograd.grad(loss, [*model.parameters()])

    for seen, unseen in zip(gradients(True), gradients(False), strict=True):
        assert torch.equal(seen, unseen)


@torch.inference_mode()
def test_a_model_made_in_inference_mode_can_be_looked_at():
    model, pos = make_model(PoincareBall(), dropout=0.0), clouds_in_unit_sphere()
    before = copy.deepcopy(model.state_dict())
    assert model.embedding(pos, BATCH).shape == (3, 16)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
    model(pos, BATCH)  # in training mode
    assert model.convs[0].nn[1].num_batches_tracked == 1


def test_a_look_that_fails_does_not_change_the_model():
    model = make_model(PoincareBall(), ratios=(0.2, 0.2))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="'k' must"):  # the second layer has too few points
        model.radii(clouds_in_unit_sphere()[:12])
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())


@each_form
@each_space
def test_logits_do_not_depend_on_the_order_of_points(manifold, form):
    model = trained_statistics(make_model(manifold, **form))
    pos = clouds_in_unit_sphere()
    order = torch.cat([16 * i + torch.randperm(16) for i in range(3)])
    assert_close(model(pos[order], BATCH), model(pos, BATCH))


@each_form
@each_space
def test_clouds_of_a_batch_are_classified_as_if_alone(manifold, form):
    model = trained_statistics(make_model(manifold, **form))
    pos = clouds_in_unit_sphere()
    sizes = [10, 24, 14]
    batch = torch.arange(3).repeat_interleave(torch.tensor(sizes))
    together = model(pos, batch)
    assert together.shape == (3, 5)
    assert_close(together, torch.cat([model(cloud) for cloud in pos.split(sizes)]))
    assert_close(model(pos, batch, batch_size=3), together, factor=0)
    zeros = torch.zeros(10, dtype=torch.long)
    assert_close(model(pos[:10]), model(pos[:10], zeros), factor=0)


@each_form
@each_space
def test_clouds_of_one_size_need_no_batch_vector(manifold, form):
    model = trained_statistics(make_model(manifold, **form))
    pos = clouds_in_unit_sphere()
    assert_close(model(pos, batch_size=3), model(pos, BATCH), factor=0)
    for alone, together in zip(
        model.points(pos, batch_size=3), model.points(pos, BATCH), strict=True
    ):
        assert_close(alone, together, factor=0)
    assert model.radii(pos, batch_size=3) == model.radii(pos, BATCH)
    assert_close(model.embedding(pos, batch_size=3), model.embedding(pos, BATCH), factor=0)


@pytest.mark.slow
def test_it_compiles_to_one_graph_for_clouds_of_one_size():
    """Also where levels are sampled, whose sizes a batch vector would hide."""
    model = trained_statistics(make_model(PoincareBall(), **FORMS["hierarchy"]))
    pos = clouds_in_unit_sphere()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert_close(compiled(pos, batch_size=3), model(pos, batch_size=3))


@each_space
def test_logits_depend_on_the_cloud(manifold):
    model = trained_statistics(make_model(manifold))
    out = model(clouds_in_unit_sphere(), BATCH)
    assert (out[0] - out[1]).abs().max() > 1e-3


@each_space
def test_embedding_is_one_point_per_cloud(manifold):
    model = trained_statistics(make_model(manifold))
    pos = clouds_in_unit_sphere()
    embedding = model.embedding(pos, BATCH)
    assert embedding.shape == (3, manifold.ambient_dim(16))
    assert_on_manifold(embedding, manifold)
    assert not embedding.requires_grad
    assert_close(model.embedding(pos, BATCH, batch_size=4)[:3], embedding, factor=0)
    assert model.embedding(pos, BATCH, batch_size=4).size(0) == model(pos, BATCH, 4).size(0) == 4
    assert_close(embedding, torch.cat([model.embedding(cloud) for cloud in pos.split(16)]))
    last = model.points(pos[:16])[-1]
    to_points = manifold.rel(embedding[:1], last).mean(0).norm()
    assert to_points < 0.2 * manifold.rel(embedding[:1], last).norm(dim=-1).mean()  # among them


@each_form
@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
@pytest.mark.parametrize("aggr", ["max", "mean", "midpoint"])
def test_gradients_reach_every_parameter_and_the_curvature(space, aggr, form):
    model = make_model(space(1.0, learnable=True), aggr=aggr, dropout=0.0, **form)
    loss = torch.nn.functional.cross_entropy(
        model(clouds_in_unit_sphere(), BATCH), torch.tensor([0, 1, 2])
    )
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@each_form
@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
def test_gradients_in_positions_and_curvature(space, form):
    manifold = space(0.7, learnable=True)
    model = make_model(manifold, hidden_channels=(4, 4), k=2, **form)
    model = trained_statistics(model).double()
    pos = clouds_in_unit_sphere(6).double().requires_grad_()

    def function(pos: Tensor, log_scale: Tensor) -> Tensor:
        return torch.func.functional_call(model, {"manifold.log_scale": log_scale}, (pos,))

    log_scale = manifold.log_scale.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(function, (pos, log_scale))


@pytest.mark.parametrize(
    "manifold", [PoincareBall(learnable=True), Lorentz(), Euclidean()], ids=str
)
def test_a_few_steps_tell_shells_from_lines(manifold):
    """Two kinds of clouds, spheres and segments, learnt in a few steps of Adam."""
    model = make_model(manifold, dropout=0.0)
    sphere = torch.nn.functional.normalize(torch.randn(4, 16, 3), dim=-1)
    line = torch.linspace(-1, 1, 16).view(16, 1) * sphere[:, :1]
    pos = torch.cat([sphere, line]).flatten(0, 1)
    batch, y = torch.arange(8).repeat_interleave(16), torch.arange(2).repeat_interleave(4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(pos, batch), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_reset_parameters_starts_anew_at_the_same_scale():
    model = make_model(PoincareBall())
    before = copy.deepcopy(model)
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 0.5)
    model(clouds_in_unit_sphere(), BATCH)
    model.reset_parameters()
    for (name, new), old in zip(model.named_parameters(), before.parameters(), strict=True):
        assert not (new == 0.5).any(), name
        if new.dim() == 1 and not name.endswith("head.4.bias"):
            assert torch.equal(new, old), name  # of batch norms: set, not drawn
        else:
            assert not torch.equal(new, old), name
    for new, old in zip(model.buffers(), before.buffers(), strict=True):
        assert torch.equal(new, old)


@each_space
def test_levels_are_the_farthest_points(manifold):
    model = trained_statistics(make_model(manifold, **FORMS["hierarchy"]))
    pos = clouds_in_unit_sphere()
    points = model.points(pos, BATCH)
    assert [len(x) for x in points] == [48, 48, 24]
    kept = fps(points[0], BATCH, 0.5, manifold=manifold)
    wide = torch.cat([manifold.log0(points[1]), pos], dim=-1)
    x = manifold.exp0(wide)
    pairs = knn(points[0], points[0][kept], 4, BATCH, BATCH[kept], manifold=manifold)
    assert_close(points[2], model.convs[1]((x, x[kept]), pairs.flip(0)))


@each_space
def test_the_classifier_sees_every_level(manifold):
    """A point that no later level keeps still counts, by the maximum over its own level."""
    model = trained_statistics(make_model(manifold, **FORMS["hierarchy"]))
    pos = clouds_in_unit_sphere()[:16]
    level = manifold.log0(model.points(pos)[1]).amax(0)
    seen = []
    model.head.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model(pos)
    assert seen[0].shape == (1, 2 * 16 + 8)
    assert_close(seen[0][0, -8:], level)


def test_the_size_that_ships():
    """85,000 parameters are enough for five levels."""
    model = HyperbolicDGCNN(
        manifold=PoincareBall(),
        hidden_channels=(32, 48, 64, 96, 120),
        ratios=(0.5,) * 5,
        dynamic=False,
        head_channels=0,
        k=16,
    )
    assert count(model) == 83_912
    assert model.min_points == 241


@pytest.mark.parametrize("ratios", [(1, 1), (0.5, 0.5), (0.3, 0.7), (1, 0.34, 0.61, 0.5)])
def test_min_points_are_enough_and_one_fewer_is_not(ratios):
    widths = (4,) * len(ratios)
    model = make_model(PoincareBall(), hidden_channels=widths, ratios=ratios, dynamic=False).eval()
    least = model.min_points
    assert model(clouds_in_unit_sphere(least)).isfinite().all()
    with pytest.raises(ValueError, match="'k' must be at most the number of points of a cloud"):
        model(clouds_in_unit_sphere(least - 1))


@pytest.mark.parametrize("ratio", [0.55, 0.3, 0.14, 1 / 3])
@pytest.mark.parametrize("k", range(2, 40))
def test_min_points_keep_k_of_them(ratio, k):
    model = make_model(PoincareBall(), hidden_channels=(2, 2), ratios=(ratio, 1), k=k)
    least = model.min_points
    enough, fewer = (
        len(fps(torch.rand(num, 1), ratio=ratio, manifold=Euclidean()))
        for num in (least, least - 1)
    )
    assert fewer < k <= enough


def test_options_reach_the_layers():
    model = make_model(PoincareBall(), aggr="mean", dropout=0.7, k=3)
    assert [conv.k for conv in model.convs] == [3, 3]
    assert [conv.aggr for conv in model.convs] == ["mean", "mean"]
    assert [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)] == [0.7]


@each_form
@each_space
def test_double_precision_is_kept(manifold, form):
    model = make_model(manifold, **form).double()
    out = model(clouds_in_unit_sphere().double(), BATCH)
    assert out.dtype == torch.float64
    assert out.isfinite().all()


@each_space
def test_autocast_gives_finite_logits_close_to_float32(manifold):
    model = trained_statistics(make_model(manifold))
    pos = clouds_in_unit_sphere()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(pos, BATCH)
    expected = model(pos, BATCH)
    assert (out.float() - expected).abs().max() < 0.1 * expected.abs().max()


@pytest.mark.slow
def test_compiled_model_equals_eager_for_any_number_of_points():
    torch.compiler.reset()
    model = trained_statistics(make_model(PoincareBall(learnable=True), hidden_channels=(8,)))
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")
    for n in (8, 14):
        pos, batch = clouds_in_unit_sphere(2 * n), torch.arange(2).repeat_interleave(n)
        results = []
        for run in (compiled, model):
            out = run(pos, batch, batch_size=2)
            gradients = torch.autograd.grad(out.square().sum(), list(model.parameters()))
            results.append([out, *gradients])
        for actual, expected in zip(*results, strict=True):
            torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


# Bad arguments ---------------------------------------------------------------------------------


def test_wrong_pos_is_named():
    model = make_model(PoincareBall())
    with pytest.raises(ValueError, match=r"'pos' must have last dimension 3 \(got 2\)"):
        model(torch.zeros(16, 2))
    with pytest.raises(
        ValueError, match=r"'pos' must have 2 dimensions \(got shape \(1, 16, 3\)\)"
    ):
        model(torch.zeros(1, 16, 3))
    with pytest.raises(TypeError, match=r"'pos' must be a floating-point .*\(got torch.int64\)"):
        model(torch.zeros(16, 3, dtype=torch.long))
    with pytest.raises(TypeError, match=r"'pos' must be a tensor \(got list\)"):
        model([[0.0, 0.0, 0.0]])


def test_a_cloud_smaller_than_k_is_named():
    with pytest.raises(ValueError, match=r"got k=4 and 3 points in cloud 1"):
        make_model(PoincareBall())(torch.zeros(19, 3), torch.tensor([0] * 16 + [1] * 3))


@pytest.mark.parametrize(
    "ratios", [(1,), (1, 1, 1), (0, 1), (1, 1.5), (1, float("nan")), ("a", 1), 0.5]
)
def test_wrong_ratios_are_named(ratios):
    with pytest.raises(ValueError, match="'ratios' must be 2 numbers above 0 and at most 1"):
        make_model(PoincareBall(), ratios=ratios)


def test_wrong_manifold_and_k_are_named():
    with pytest.raises(TypeError, match=r"'manifold' must be .*\(got 'lorentz'\)"):
        HyperbolicDGCNN(manifold="lorentz")
    with pytest.raises(ValueError, match=r"'k' must be at least 1 \(got 0\)"):
        HyperbolicDGCNN(manifold=Lorentz(), k=0)


@pytest.mark.parametrize("ratios", [None, (1, 0.5, 1, 1)])
def test_in_a_local_frame_rotations_and_reflections_change_nothing(ratios):
    pos, batch = torch.randn(48, 3).double() / 2, torch.arange(2).repeat_interleave(24)
    given = {"manifold": PoincareBall(0.7), "k": 6, "ratios": ratios}
    framed = HyperbolicDGCNN(frame="local", **given).double().eval()
    raw = HyperbolicDGCNN(**given).double().eval()
    for _ in range(3):
        turn = torch.linalg.qr(torch.randn(3, 3).double())[0]
        torch.testing.assert_close(framed(pos @ turn, batch), framed(pos, batch))
        assert (raw(pos @ turn, batch) - raw(pos, batch)).abs().max() > 1e-3
    sizes = [sum(p.numel() for p in model.parameters()) for model in (framed, raw)]
    assert sizes[0] == sizes[1]


def test_a_frame_needs_dynamic_neighbours():
    with pytest.raises(ValueError, match="'dynamic' must be True with frame='local'"):
        HyperbolicDGCNN(manifold=PoincareBall(), frame="local", dynamic=False)


@pytest.mark.parametrize("name", ["in_channels", "out_channels", "emb_channels", "k"])
def test_sizes_that_cannot_be_are_named(name):
    for value, error in ((0, ValueError), (True, TypeError), ("3", TypeError), (3.0, TypeError)):
        with pytest.raises(error, match=f"^'{name}' must be"):
            HyperbolicDGCNN(manifold=PoincareBall(), **{name: value})
    with pytest.raises(ValueError, match="^'hidden_channels' must be at least 1 \\(got 0\\)"):
        HyperbolicDGCNN(manifold=PoincareBall(), hidden_channels=(8, 0))
    for value in ((), 8):
        with pytest.raises(ValueError, match="^'hidden_channels' must be one or more ints"):
            HyperbolicDGCNN(manifold=PoincareBall(), hidden_channels=value)
    with pytest.raises(ValueError, match="^'head_channels' must be at least 0 \\(got -1\\)"):
        HyperbolicDGCNN(manifold=PoincareBall(), head_channels=-1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_positions_of_another_dtype_than_the_weights_are_named(dtype):
    model = HyperbolicDGCNN(manifold=PoincareBall(), k=4)
    with pytest.raises(TypeError, match="'pos' must have the layer's dtype"):
        model(torch.randn(24, 3, dtype=dtype))


def test_a_batch_of_small_integers_has_the_same_gradients():
    model = HyperbolicDGCNN(manifold=PoincareBall(), k=4).eval()
    pos = torch.randn(24, 3, requires_grad=True)
    batch = torch.arange(2).repeat_interleave(12)
    expected, found = (
        torch.autograd.grad(model(pos, own).square().sum(), pos)[0] for own in (batch, batch.int())
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("batch", [torch.zeros(24), [0] * 24], ids=["float", "list"])
def test_a_batch_that_holds_no_integers_is_named(batch):
    model = HyperbolicDGCNN(manifold=PoincareBall(), k=4)
    with pytest.raises(TypeError, match="'batch' must be a tensor of integers"):
        model(torch.randn(24, 3), batch)


@pytest.mark.filterwarnings("ignore:.*torch.ao.quantization:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_linear_layers_may_be_quantized():
    model = make_model(Euclidean()).eval()
    pos = clouds_in_unit_sphere()
    small = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    expected = model(pos, BATCH)
    assert (small(pos, BATCH) - expected).abs().max() < 0.2 * expected.abs().max()


@pytest.mark.parametrize("ratios", [None, (0.5, 0.5)])
def test_one_cloud_needs_no_batch_to_compile(ratios):
    torch.compiler.reset()
    model = make_model(PoincareBall(), ratios=ratios, dynamic=ratios is None).eval()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="eager")
    for n in (20, 31):
        pos = clouds_in_unit_sphere(n)
        torch.testing.assert_close(compiled(pos), model(pos))


def test_a_wrong_number_of_clouds_is_named():
    model, pos = make_model(PoincareBall()).eval(), clouds_in_unit_sphere()
    clouds = int(BATCH.max()) + 1
    for call in (model, model.points, model.radii, model.embedding):
        with pytest.raises(ValueError, match=rf"'batch_size' must be at least {clouds}, .*got 1"):
            call(pos, BATCH, 1)
        with pytest.raises(TypeError, match=r"'batch_size' must be an int \(got 2.0\)"):
            call(pos, BATCH, 2.0)
    assert model(pos, BATCH, clouds + 1).size(0) == clouds + 1
