"""All functions of a model compiled as one, outputs and gradients compared with eager ones."""

import pytest
import torch
from torch import Tensor

from tests.geometry.samples import (
    ARGUMENTS,
    GEOMETRY,
    as_tuple,
    label,
    learnable,
    moderate_arguments,
    pick,
)


def all_functions(model: str):
    def function(arguments: dict[str, Tensor], c: Tensor) -> dict[str, tuple[Tensor, ...]]:
        return {f.__name__: as_tuple(f(*pick(arguments, f), c=c)) for f in ARGUMENTS[model]}

    return function


def outputs_and_gradients(function, values: dict[str, Tensor]) -> dict[str, Tensor]:
    torch.manual_seed(0)
    arguments = {name: value.clone().requires_grad_() for name, value in values.items()}
    c = learnable(0.7)
    named = {
        f"{name} {i}": out
        for name, outs in function(arguments, c).items()
        for i, out in enumerate(outs)
    }
    loss = sum((out * torch.randn_like(out)).sum() for out in named.values())
    gradients = torch.autograd.grad(loss, [*arguments.values(), c], allow_unused=True)
    named |= dict(
        zip([f"gradient of {name}" for name in [*arguments, "c"]], gradients, strict=True)
    )
    return {name: value for name, value in named.items() if value is not None}


@pytest.mark.slow
@pytest.mark.parametrize("model", GEOMETRY)
@pytest.mark.parametrize("dtype", [torch.float32], ids=label)
def test_compiled_functions_equal_eager_ones(model, dtype):
    values = moderate_arguments(model, 0.7, dtype, num=6)
    values["y"][0] = values["x"][0]  # coincident points, and a point beyond the boundary
    values["y"][1] = 3 * values["x"][1] / values["x"][1].norm()
    eager = outputs_and_gradients(all_functions(model), values)
    compiled = torch.compile(all_functions(model), fullgraph=True)
    for name, value in outputs_and_gradients(compiled, values).items():
        bound = 1e-5 * max(1.0, eager[name].abs().max().item())
        torch.testing.assert_close(
            value, eager[name], rtol=0, atol=bound, msg=lambda m, name=name: f"{name}: {m}"
        )
