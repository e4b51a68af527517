"""HConv2d against its definition and torch.nn.Conv2d."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.kernels.graphs import threads
from tests.nn.conv.definition import h_conv2d
from tests.nn.conv.helpers import (
    CURVED,
    SPACES,
    assert_near,
    check_compiled,
    check_gradients,
    pickled,
    points,
)
from torch_geometric_hyperbolic.kernels import set_fused
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import HConv2d
from torch_geometric_hyperbolic.testing import assert_on_manifold
from torch_geometric_hyperbolic.typing import WITH_NUMBA

each_space = pytest.mark.parametrize("manifold", SPACES, ids=str)

WINDOWS = {
    "1x1": {"kernel_size": (1, 1)},
    "3x3": {"kernel_size": (3, 3)},
    "padded": {"kernel_size": (3, 3), "padding": (1, 1)},
    "strided": {"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 1)},
    "dilated": {"kernel_size": (3, 3), "dilation": (2, 1), "padding": (2, 0)},
    "even": {"kernel_size": (2, 4), "padding": (0, 1)},
    "centre on padding": {"kernel_size": (3, 3), "padding": (2, 3)},
    "everything": {
        "kernel_size": (2, 3),
        "stride": (1, 2),
        "padding": (2, 1),
        "dilation": (2, 1),
    },
}


def random_image(manifold: Manifold, batch: int = 2, height: int = 4, width: int = 5) -> Tensor:
    return points(manifold, batch, height, width, 3, radius=2.0).movedim(-1, 1)


def make_conv(manifold: Manifold, channels: tuple[int, int] = (3, 5), **kwargs: object) -> HConv2d:
    conv = HConv2d(*channels, **{"kernel_size": 3, **kwargs}, manifold=manifold).double()
    if conv.bias is not None:
        torch.nn.init.normal_(conv.bias)
    return conv


def log0(manifold: Manifold, image: Tensor) -> Tensor:
    return manifold.log0(image.movedim(1, -1)).movedim(-1, 1)


def exp0(manifold: Manifold, image: Tensor) -> Tensor:
    return manifold.exp0(image.movedim(1, -1)).movedim(-1, 1)


def by_definition(conv: HConv2d, image: Tensor) -> Tensor:
    bias = conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias
    return h_conv2d(
        conv.manifold,
        image,
        conv.weight,
        bias,
        None if conv.lin_pivot is None else conv.lin_pivot.weight,
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
    ).detach()


def test_repr_tells_all_arguments():
    conv = HConv2d(3, 5, 3, stride=2, padding=(0, 1), manifold=PoincareBall(0.5))
    assert str(conv) == (
        "HConv2d(3, 5, kernel_size=(3, 3), stride=(2, 2), padding=(0, 1), dilation=(1, 1), "
        "manifold=PoincareBall(c=0.5), pivot=True)"
    )


def test_positional_arguments_are_those_of_conv2d():
    conv = HConv2d(3, 5, (3, 2), 2, 1, 3, manifold=PoincareBall())
    torch_conv = torch.nn.Conv2d(3, 5, (3, 2), 2, 1, 3)
    for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation"):
        assert getattr(conv, name) == getattr(torch_conv, name)
    assert conv.weight.shape == torch_conv.weight.shape
    assert conv.bias.shape == torch_conv.bias.shape


@pytest.mark.parametrize("manifold", [*CURVED, Euclidean()], ids=str)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_without_pivot_it_is_conv2d_between_log0_and_exp0(manifold, window, bias):
    conv = make_conv(manifold, **WINDOWS[window], pivot=False, bias=bias)
    torch_conv = torch.nn.Conv2d(3, 5, **WINDOWS[window], bias=bias).double()
    torch_conv.load_state_dict(
        {name: value for name, value in conv.state_dict().items() if "manifold" not in name}
    )
    image = random_image(manifold)
    assert_near(conv(image), exp0(manifold, torch_conv(log0(manifold, image))))


@each_space
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("channels", [(3, 3), (3, 5)], ids=str)
def test_with_pivot_it_is_its_definition(manifold, window, channels):
    conv = make_conv(manifold, channels, **WINDOWS[window])
    if channels == (3, 3) and conv.stride == (1, 1):
        assert conv.lin_pivot is None
    image = random_image(manifold, batch=1)
    out = conv(image)
    assert out.shape[1] == manifold.ambient_dim(channels[1])
    assert_near(out, by_definition(conv, image), 1e-9)


@pytest.mark.parametrize("manifold", CURVED, ids=str)
def test_with_pivot_it_is_its_definition_for_every_curvature(manifold):
    conv = make_conv(manifold, padding=1, bias=False)
    image = random_image(manifold, batch=1, height=3, width=3)
    assert_near(conv(image), by_definition(conv, image), 1e-9)


def test_on_euclidean_space_it_adds_a_convolution_of_differences():
    """x + sum_o W_o (x_o - x): an ordinary convolution whose centre weight is changed."""
    conv = make_conv(Euclidean(), (3, 3))
    image = random_image(Euclidean(), height=6)
    weight = conv.weight.detach().clone()
    weight[:, :, 1, 1] += torch.eye(3) - weight.sum((2, 3))
    expected = torch.nn.functional.conv2d(image, weight, conv.bias)
    assert_near(conv(image), expected)


@each_space
def test_the_base_point_of_another_size_is_mapped_by_the_pivot_map(manifold):
    conv = make_conv(manifold)
    torch.nn.init.zeros_(conv.weight)
    torch.nn.init.zeros_(conv.bias)
    image = random_image(manifold)
    expected = exp0(
        manifold,
        torch.einsum(
            "ij, bjhw -> bihw", conv.lin_pivot.weight, log0(manifold, image)[..., 1:-1, 1:-1]
        ),
    )
    assert_near(conv(image), expected)


@pytest.mark.parametrize(
    ("channels", "kwargs", "mapped"),
    [
        ((3, 3), {}, False),
        ((3, 3), {"stride": 2}, True),
        ((3, 3), {"stride": (1, 2)}, True),
        ((3, 5), {}, True),
        ((3, 5), {"pivot": False}, False),
        ((3, 3), {"stride": 2, "pivot": False}, False),
    ],
    ids=str,
)
def test_there_is_a_pivot_map_for_other_channels_or_a_stride(channels, kwargs, mapped):
    conv = HConv2d(*channels, 3, **kwargs, manifold=PoincareBall())
    assert (conv.lin_pivot is not None) == mapped
    if mapped:  # semi-orthogonal: pivots start at their radius
        weight = conv.lin_pivot.weight
        assert_near(weight.T @ weight, torch.eye(3), 1e-6)


def results(conv: HConv2d, image: Tensor, pull: Tensor) -> list[Tensor]:
    """The layer's output and the gradients of the image and all parameters."""
    image = image.detach().requires_grad_()
    out = conv(image)
    return [out, *torch.autograd.grad(out, [image, *conv.parameters()], pull)]


@pytest.mark.parametrize(
    "manifold", [PoincareBall(0.7, learnable=True), Lorentz(0.7, learnable=True), Euclidean()]
)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("channels", [(3, 3), (3, 5)], ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-7)])
def test_fused_and_plain_engines_agree(manifold, window, channels, dtype, tolerance):
    conv = make_conv(manifold, channels, **WINDOWS[window]).to(dtype)
    image = random_image(manifold).to(dtype)
    pull = torch.randn_like(conv(image))
    fused = results(conv, image, pull)
    try:
        set_fused(False)
        plain = results(conv, image, pull)
    finally:
        set_fused(True)
    for f, p in zip(fused, plain, strict=True):
        assert f.dtype == p.dtype
        atol = tolerance * max(1.0, float(p.detach().abs().max()))
        torch.testing.assert_close(f, p, atol=atol, rtol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_layout_of_the_image_does_not_matter(dtype):
    conv = make_conv(PoincareBall(), (3, 3), padding=1).to(dtype)
    image = random_image(PoincareBall(), height=5).to(dtype)
    pull = torch.randn_like(conv(image))
    expected = results(conv, image.contiguous(), pull)
    for strided in (
        image.contiguous(memory_format=torch.channels_last),
        image.mT.contiguous().mT,
        image.repeat_interleave(2, 0)[::2],
    ):
        for actual, e in zip(results(conv, strided, pull), expected, strict=True):
            assert_near(actual, e, 0.0)


@each_space
def test_images_of_a_batch_are_computed_as_if_alone(manifold):
    conv = make_conv(manifold, padding=1)
    image = random_image(manifold)
    assert_near(conv(image), torch.cat([conv(image[:1]), conv(image[1:])]))
    empty = image[:0].detach().requires_grad_()
    assert conv(empty).shape == (0, manifold.ambient_dim(5), 4, 5)
    conv(empty).sum().backward()
    assert not conv.weight.grad.any()


@each_space
def test_an_image_of_origins_stays_at_the_origin_without_bias(manifold):
    origins = manifold.origin(1, 4, 4, 3, dtype=torch.float64).movedim(-1, 1)
    conv = make_conv(manifold, (3, 3), padding=1, bias=False)
    assert_near(conv(origins), origins, 0.0)


@each_space
@pytest.mark.parametrize("radius", [1e-8, 1.0, 10.0, 40.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outputs_and_gradients_are_finite_out_to_the_boundary(manifold, radius, dtype):
    direction = torch.nn.functional.normalize(torch.randn(1, 4, 4, 3, dtype=dtype), dim=-1)
    image = manifold.exp0(radius * direction).movedim(-1, 1).requires_grad_()
    conv = make_conv(manifold, padding=1).to(dtype)
    out = conv(image)
    assert_on_manifold(out.movedim(1, -1), manifold)
    out.sum().backward()
    assert all(tensor.grad.isfinite().all() for tensor in (image, *conv.parameters()))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
def test_copies_compute_the_same(duplicate):
    conv = make_conv(Lorentz(0.7, learnable=True))
    image = random_image(Lorentz(0.7))
    assert_near(duplicate(conv)(image), conv(image), 0.0)


def test_state_dict_restores_weights_and_curvature():
    conv = make_conv(PoincareBall(2.0))
    other = make_conv(PoincareBall(1.0))
    other.load_state_dict(conv.state_dict())
    image = random_image(PoincareBall(2.0))
    assert_near(other(image), conv(image), 0.0)


def test_reset_parameters_changes_all_of_them():
    conv = make_conv(PoincareBall())
    before = [p.clone() for p in conv.parameters()]
    conv.reset_parameters()
    assert len(before) == 3
    assert not any(torch.equal(p, b) for p, b in zip(conv.parameters(), before, strict=True))


@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
@pytest.mark.parametrize("pivot", [True, False], ids=["0.2", "0.1"])
def test_gradients_in_pixels_weights_and_curvature(space, pivot):
    manifold = space(0.7, learnable=True)
    conv = HConv2d(2, 1, 2, padding=(1, 0), manifold=manifold, pivot=pivot).double()
    image = points(manifold, 1, 2, 2, 2).movedim(-1, 1)
    assert check_gradients(conv, image) == (5 if pivot else 4)


@each_space
def test_float32_is_close_to_float64(manifold):
    conv = make_conv(manifold, padding=1)
    image = random_image(manifold).float()
    expected = conv(image.double())
    out = copy.deepcopy(conv).float()(image)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double(), expected, atol=2e-6, rtol=2e-6)


@each_space
@pytest.mark.parametrize("pivot", [True, False], ids=["0.2", "0.1"])
def test_autocast_keeps_geometry_in_float32(manifold, pivot):
    conv = make_conv(manifold, pivot=pivot, padding=1).float()
    image = random_image(manifold).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = conv(image)
    assert_on_manifold(out.movedim(1, -1), manifold)
    if manifold.c:
        assert out.dtype == torch.float32
    expected = log0(manifold, conv(image))
    assert (log0(manifold, out.float()) - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.slow
def test_compiled_layer_equals_eager():
    hyperboloid = Lorentz(learnable=True)
    conv = make_conv(hyperboloid, padding=1).float()
    image = random_image(hyperboloid).detach().float()
    check_compiled(conv, [(image,)], backend="inductor", dynamic=False, atol=1e-5)


# Bad arguments ---------------------------------------------------------------------------------


@each_space
def test_the_default_device_does_not_matter(manifold):
    """Images of a CPU in a program whose new tensors are elsewhere."""
    x = random_image(manifold)
    conv = HConv2d(3, 4, kernel_size=3, padding=1, manifold=manifold).double()
    expected = conv(x)
    with torch.device("meta"):
        found = conv(x)
    assert_near(found, expected)


@each_space
def test_one_image_alone_and_sizes_as_lists_are_taken_as_by_conv2d(manifold):
    conv = HConv2d(3, 5, [3, 1], [2, 1], [1, 0], manifold=manifold)
    plain = HConv2d(3, 5, (3, 1), (2, 1), (1, 0), manifold=manifold)
    plain.load_state_dict(conv.state_dict())
    image = manifold.random(1, 5, 4, 3).movedim(-1, 1)
    assert torch.equal(conv(image[0]), plain(image)[0])
    assert repr(conv) == repr(plain)


@each_space
@pytest.mark.parametrize("pivot", [True, False], ids=["0.2", "0.1"])
def test_wrong_images_are_named(manifold, pivot):
    conv = HConv2d(3, 5, 3, manifold=manifold, pivot=pivot)
    width = manifold.ambient_dim(3)
    message = rf"'x' must have second dimension {width} \(got {width + 1}\)"
    with pytest.raises(ValueError, match=message):
        conv(torch.zeros(1, width + 1, 4, 4))
    with pytest.raises(ValueError, match=r"'x' must have 4 dimensions \(got shape \(4, 4\)\)"):
        conv(torch.zeros(4, 4))
    with pytest.raises(TypeError, match=r"'x' must be a tensor \(got NoneType\)"):
        conv(None)
    with pytest.raises(TypeError, match=r"'x' must be a floating-point tensor \(got torch.int64\)"):
        conv(torch.zeros(1, width, 4, 4, dtype=torch.long))
    with pytest.raises(TypeError, match=r"'x' must have .* torch.float32 \(got torch.float64\)"):
        conv(torch.zeros(1, width, 4, 4, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"'x' must be on .*cpu \(got meta\)"):
        conv(torch.zeros(1, width, 4, 4, device="meta"))


@pytest.mark.parametrize("pivot", [True, False], ids=["0.2", "0.1"])
def test_a_window_larger_than_the_image_is_named(pivot):
    conv = HConv2d(3, 5, (2, 3), dilation=2, manifold=PoincareBall(), pivot=pivot)
    with pytest.raises(ValueError, match=r"'x' .*window of \[3, 5\] \(got \[4, 4\]\)"):
        conv(torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize("name", ["kernel_size", "stride", "padding", "dilation"])
@pytest.mark.parametrize("bad", [1.5, (1, 2.0), (1, 2, 3), "same", None], ids=repr)
def test_sizes_that_are_no_pairs_of_integers_are_named(name, bad):
    with pytest.raises(TypeError, match=rf"'{name}' must be an int or a pair of ints \(got "):
        HConv2d(3, 5, **{"kernel_size": 3, name: bad}, manifold=PoincareBall())


@pytest.mark.parametrize("name", ["kernel_size", "stride", "padding", "dilation"])
def test_sizes_that_are_too_small_are_named(name):
    bad = -1 if name == "padding" else 0
    with pytest.raises(ValueError, match=rf"'{name}' must be at least {bad + 1} \(got {bad}\)"):
        HConv2d(3, 5, **{"kernel_size": 3, name: bad}, manifold=PoincareBall())


def test_wrong_channels_and_manifold_are_named():
    with pytest.raises(ValueError, match=r"'in_channels' must be at least 1 \(got 0\)"):
        HConv2d(0, 5, 3, manifold=PoincareBall())
    with pytest.raises(TypeError, match=r"'out_channels' must be an int \(got 2.5\)"):
        HConv2d(3, 2.5, 3, manifold=PoincareBall())
    with pytest.raises(TypeError, match=r"'manifold' must be .*\(got None\)"):
        HConv2d(3, 5, 3, manifold=None)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("pivot", [True, False], ids=["0.2", "0.1"])
def test_inference_mode_and_autocast_change_nothing_for_any_number_of_threads(count, pivot):
    conv = make_conv(Euclidean(), (8, 8), padding=1, pivot=pivot).float()
    image = torch.randn(2, 8, 6, 6, requires_grad=True)
    expected = conv(image)
    (grad,) = torch.autograd.grad(expected.sum(), image)
    with threads(count):
        with torch.inference_mode():
            assert torch.equal(conv(image), expected)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = conv(image)
            (found,) = torch.autograd.grad(out.sum(), image)  # within autocast
    if pivot and WITH_NUMBA:  # PyTorch's own convolution runs in bfloat16
        assert torch.equal(out, expected)
        assert torch.equal(found, grad)
    assert_near(out.float(), expected, 0.05)
    assert found.isfinite().all()


def test_one_graph_serves_all_sizes_of_batches_and_images():
    graphs: list[object] = []

    def count(module, inputs):
        graphs.append(module)
        return module

    conv = make_conv(PoincareBall()).float()
    compiled = torch.compile(conv, fullgraph=True, dynamic=True, backend=count)
    for batch in range(2, 8):
        image = random_image(PoincareBall(), batch, height=3 + batch).float()
        assert_near(compiled(image), conv(image))
    assert len(graphs) <= 2


@each_space
@pytest.mark.parametrize(
    "kwargs",
    [
        {"kernel_size": 2, "padding": 2, "dilation": 4},
        {"kernel_size": (2, 1), "padding": (5, 0), "dilation": (10, 1)},
    ],
    ids=["both axes", "one axis"],
)
def test_every_pivot_may_lie_on_padding(manifold, kwargs):
    conv, image = make_conv(manifold, **kwargs), random_image(manifold, height=1, width=1)
    assert_near(conv(image), by_definition(conv, image), 1e-9)


def test_numbers_whose_squares_overflow_are_no_trouble_in_flat_space():
    conv, image = make_conv(Euclidean(), padding=1).float(), 1e20 * torch.randn(1, 3, 4, 4)
    image.requires_grad_()
    out = conv(image)
    assert_near(out.double() / 1e20, conv.double()(image.double()) / 1e20, 1e-5)
    assert torch.autograd.grad(out.sum(), image)[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("pivot", [True, False], ids=["0.2", "0.1"])
def test_flat_images_may_be_in_half_precision(dtype, pivot):
    conv, image = make_conv(Euclidean(), padding=1, pivot=pivot), random_image(Euclidean())
    out = copy.deepcopy(conv).to(dtype)(image.to(dtype))
    assert out.dtype == dtype
    assert_near(out.double(), conv(image), 0.1)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("pivot", [True, False], ids=["0.2", "0.1"])
def test_autocast_takes_half_weights_with_full_points(half, pivot):
    ball = PoincareBall()
    conv, image = make_conv(ball, pivot=pivot, padding=1).to(half), random_image(ball).float()
    with torch.autocast("cpu", dtype=half):
        out = conv(image)
    expected = log0(ball, conv.float()(image))
    assert (log0(ball, out.float()) - expected).abs().max() < 0.02 * expected.abs().max()


def test_sizes_may_be_those_of_numpy():
    kind = np.int64
    sizes = kind(2), kind(3), (kind(3), kind(1)), kind(2), kind(1)
    conv = HConv2d(*sizes, manifold=PoincareBall())
    assert (conv.kernel_size, conv.stride, conv.padding) == ((3, 1), (2, 2), (1, 1))
    assert conv(torch.zeros(1, 2, 5, 5)).shape == (1, 3, 3, 4)
