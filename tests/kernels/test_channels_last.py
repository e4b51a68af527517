"""A copy that must be one: of every shape, layout and dtype, with the gradient that undoes it."""

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from torch_geometric_hyperbolic.kernels import channels_last
from torch_geometric_hyperbolic.typing import WITH_NUMBA

if WITH_NUMBA:
    from torch_geometric_hyperbolic.kernels._cpu import pixels


def image(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64).to(dtype)


SHAPES = [(2, 3, 4, 5), (1, 5, 1, 33), (3, 1, 2, 2), (2, 40, 7, 7), (0, 3, 4, 4), (2, 3, 0, 4)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_nothing_but_the_memory_changes(shape, dtype):
    x = image(*shape, dtype=dtype)
    before = x.clone()
    rows = channels_last(x)
    assert rows.is_contiguous()
    assert torch.equal(rows, x.permute(0, 2, 3, 1))
    assert torch.equal(x, before)


def test_an_image_that_lies_so_already_is_not_copied():
    x = image(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert channels_last(x).data_ptr() == x.data_ptr()


@pytest.mark.parametrize("part", [(slice(None), slice(1)), (slice(None, None, 2),)], ids=str)
def test_any_strides_are_taken(part):
    x = image(4, 3, 6, 5)[part]
    assert torch.equal(channels_last(x), x.permute(0, 2, 3, 1))
    turned = x.transpose(2, 3)
    assert torch.equal(channels_last(turned), turned.permute(0, 2, 3, 1))


def test_the_gradient_goes_the_way_back():
    x = image(2, 3, 4, 5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(channels_last, x)
    assert torch.autograd.gradgradcheck(channels_last, x)


@pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")
def test_the_operator_is_registered_as_torch_expects():
    opcheck(torch.ops.tgh.channels_last.default, (image(2, 3, 4, 5).requires_grad_(),))


@pytest.mark.skipif(not WITH_NUMBA, reason="compiled by numba")
def test_rows_of_any_layout_are_made_contiguous():
    for x in (
        image(2, 3, 20, 5).movedim(1, -1),  # what the loop is for
        image(2, 3, 20, 5),
        image(2, 3, 20, 5).transpose(0, 1),
        image(6, 4).t(),
        image(2, 3, 1, 1).movedim(1, -1),
    ):
        rows = pixels.contiguous(x)
        assert rows.is_contiguous()
        assert torch.equal(rows, x)
