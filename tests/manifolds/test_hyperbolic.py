"""The curvature: exact, positive, learnable, part of the state."""

import copy
import io
import math
import pickle

import pytest
import torch

from torch_geometric_hyperbolic.manifolds import Lorentz, PoincareBall


def value(c: float | torch.Tensor) -> float:
    return c.item() if isinstance(c, torch.Tensor) else c


both_models = pytest.mark.parametrize("model", [PoincareBall, Lorentz])


@both_models
class TestCurvature:
    @pytest.mark.parametrize("c", [1.0, 0.13, 1e-6, 1e3, 2])
    @pytest.mark.parametrize("learnable", [False, True])
    def test_it_is_exactly_what_was_given(self, model, c, learnable):
        assert value(model(c, learnable=learnable).c) == c
        assert value(model(c, learnable).double().c) == c

    def test_the_default_is_one_and_fixed(self, model):
        assert model().c == 1.0
        assert not list(model().parameters())

    def test_a_fixed_one_is_a_float_and_a_learnable_one_a_float64_tensor(self, model):
        assert type(model(2).c) is float
        c = model(0.13, learnable=True).c
        assert c.dtype == torch.float64
        assert c.shape == ()
        assert c.requires_grad

    @pytest.mark.parametrize("learnable", [False, True])
    def test_repr(self, model, learnable):
        expected = "(c=0.13, learnable=True)" if learnable else "(c=0.13)"
        assert repr(model(0.13, learnable=learnable)) == model.__name__ + expected

    @pytest.mark.parametrize("c", [0, -1, 0.0, -0.5, math.inf, -math.inf, math.nan])
    def test_bad_values_raise_one_line_that_names_the_value(self, model, c):
        with pytest.raises(ValueError, match=rf"^'c' must be .*\(got {c}\)$") as error:
            model(c)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("c", ["x", True, None, 1j, [1.0], torch.tensor(1.0)], ids=repr)
    def test_other_types_raise_one_line_that_names_the_value(self, model, c):
        with pytest.raises(TypeError, match=r"^'c' must be a float \(got ") as error:
            model(c)
        assert repr(c) in str(error.value)
        assert "\n" not in str(error.value)


@both_models
class TestLearning:
    def loss(self, manifold, spread: float) -> torch.Tensor:
        """Smallest for the curvature in which two given points are ``spread`` apart."""
        x = torch.tensor([[0.3, 0.4]])
        if isinstance(manifold, Lorentz):
            x = torch.cat([torch.zeros(1, 1), x], dim=1)
        return (manifold.dist(x, -x) - spread).square().sum()

    def test_it_learns(self, model):
        manifold = model(1.0, learnable=True)
        true = model(0.4)
        spread = math.sqrt(self.loss(true, 0.0))
        optimizer = torch.optim.Adam(manifold.parameters(), lr=0.05)
        for _ in range(200):
            optimizer.zero_grad()
            self.loss(manifold, spread).backward()
            optimizer.step()
        assert value(manifold.c) == pytest.approx(0.4, rel=1e-3)

    @pytest.mark.parametrize("sign", [-1, 1])
    def test_it_stays_positive_after_big_steps(self, model, sign):
        manifold = model(1.0, learnable=True)
        optimizer = torch.optim.SGD(manifold.parameters(), lr=100.0)
        (sign * manifold.c).backward()
        optimizer.step()
        assert 0 < value(manifold.c) < math.inf
        assert manifold.dist(*torch.randn(2, 5, 3)).isfinite().all()

    def test_it_learns_at_the_same_relative_rate_at_every_scale(self, model):
        steps = []
        for c in (1e-3, 1.0, 1e3):
            manifold = model(c, learnable=True)
            (manifold.c / c).backward()
            torch.optim.SGD(manifold.parameters(), lr=0.1).step()
            steps.append(value(manifold.c) / c)
        assert steps == pytest.approx([steps[0]] * 3)
        assert steps[0] < 0.95

    @pytest.mark.parametrize("verb", ["log0", "exp0", "rel", "move", "dist"])
    def test_every_verb_passes_a_gradient_to_it(self, model, verb):
        manifold = model(0.7, learnable=True)
        x, y = manifold.random(2, 5, 3)
        v = torch.randn(5, 3)
        arguments = {"log0": [x], "exp0": [v], "move": [x, v]}.get(verb, [x, y])
        getattr(manifold, verb)(*arguments).square().sum().backward()
        assert manifold.log_scale.grad.isfinite()
        assert manifold.log_scale.grad != 0

    def test_learnable_and_fixed_give_the_same_numbers(self, model):
        fixed, learnt = model(0.13), model(0.13, learnable=True)
        x, y = fixed.random(2, 5, 3)
        for verb in ("dist", "rel", "logmap"):
            expected = getattr(fixed, verb)(x, y)
            torch.testing.assert_close(getattr(learnt, verb)(x, y), expected, rtol=1e-6, atol=1e-6)


@both_models
class TestState:
    def learnt(self, model):
        manifold = model(0.13, learnable=True)
        with torch.no_grad():
            manifold.log_scale += 0.4
        return manifold

    @pytest.mark.parametrize("c", [1.0, 0.13, 5.0])
    def test_a_state_restores_a_learnt_curvature(self, model, c):
        manifold, other = self.learnt(model), model(c, learnable=True)
        other.load_state_dict(manifold.state_dict())
        assert value(other.c) == value(manifold.c)
        assert value(manifold.c) == pytest.approx(0.13 * math.exp(0.4))

    def test_a_state_restores_a_fixed_curvature(self, model):
        other = model(2.0)
        other.load_state_dict(model(0.13).state_dict())
        assert other.c == 0.13

    def test_a_state_loads_without_running_code(self, model):
        file = io.BytesIO()
        torch.save(self.learnt(model).state_dict(), file)
        file.seek(0)
        other = model(3.0, learnable=True)
        other.load_state_dict(torch.load(file, weights_only=True))
        assert value(other.c) == value(self.learnt(model).c)

    def test_copies_hold_the_same_curvature_apart(self, model):
        manifold = self.learnt(model)
        for other in (copy.deepcopy(manifold), pickle.loads(pickle.dumps(manifold))):
            assert value(other.c) == value(manifold.c)
            assert other.log_scale.requires_grad
            with torch.no_grad():
                other.log_scale += 1
            assert value(other.c) != value(manifold.c)

    def test_changing_the_dtype_keeps_the_curvature(self, model):
        manifold = self.learnt(model)
        before = value(manifold.c)
        assert value(manifold.to(torch.float64).c) == before
        assert value(manifold.to(torch.float32).c) == before
        x, y = manifold.random(2, 5, 3)
        assert manifold.to(torch.float64).dist(x, y).dtype == torch.float32

    def test_inside_a_module_it_is_one_of_the_parameters(self, model):
        manifold = self.learnt(model)
        net = torch.nn.ModuleDict({"first": manifold, "second": manifold})
        assert [name for name, _ in net.named_parameters()] == ["first.log_scale"]
        twin = copy.deepcopy(net)
        assert twin["first"] is twin["second"]


@both_models
def test_a_curvature_that_learns_too_fast_stays_finite(model):
    """It was 0 or infinite after a step, and all NaN."""
    manifold = model(2.0, learnable=True)
    v = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    for step, end in ((-1e6, 2 * math.exp(-60)), (1e6, 2 * math.exp(60)), (1.0, 2 * math.e)):
        with torch.no_grad():
            manifold.log_scale.fill_(step)
        assert value(manifold.c) == pytest.approx(end, rel=1e-7)
        x = manifold.exp0(v)
        distance = manifold.dist(x[:, None], x[None])
        distance.sum().backward()
        assert distance.isfinite().all() and manifold.log_scale.grad.isfinite()
