import argparse

import pytest
import torch
from _cli import UsageError
from _image_net import (
    LAYERS,
    EdgeConv2d,
    HyperbolicImageNet,
    NormedHConv2d,
    build_image_net,
    check_image_net_arguments,
)
from _models import count_parameters
from torch import nn

from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, PoincareBall

CONFIG = {
    "shape": [1, 28, 28],
    "layer": "hconv2",
    "channels": [32, 32, 64, 64],
    "strides": None,
    "dropout": 0.3,
    "manifold": "poincare",
    "curvature": 1.0,
    "learnable_curvature": False,
}
MANIFOLDS = (PoincareBall(c=0.8), Lorentz(c=1.3), Euclidean())


def make(manifold, layer="hconv2", channels=(8, 6), strides=(2, 1), in_channels=2):
    return HyperbolicImageNet(
        in_channels,
        5,
        manifold=manifold,
        layer=layer,
        channels=channels,
        strides=strides,
        dropout=0.3,
    )


def random_images(*size):
    return 2 * torch.rand(*size) - 1


@pytest.mark.parametrize("layer", LAYERS)
def test_the_twins_have_equal_parameters_of_moderate_number(layer):
    models = [
        build_image_net(CONFIG | {"layer": layer, "manifold": manifold}, 10)
        for manifold in ("poincare", "lorentz", "euclidean")
    ]
    shapes = [{key: p.shape for key, p in model.named_parameters()} for model in models]
    assert shapes[0] == shapes[1] == shapes[2]
    assert 10_000 < count_parameters(models[0]) < 100_000


@pytest.mark.parametrize("manifold", MANIFOLDS)
@pytest.mark.parametrize("layer", LAYERS)
def test_every_pixel_and_every_parameter_matters(layer, manifold):
    model = make(manifold, layer)
    x = random_images(8, 2, 9, 12).requires_grad_()
    logits = model(x)
    assert logits.shape == (8, 5)
    (logits * torch.randn(8, 5)).sum().backward()
    assert (x.grad.abs().sum(0) > 0).all()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("manifold", MANIFOLDS)
@pytest.mark.parametrize("layer", LAYERS)
def test_one_point_of_the_manifold_per_pixel(layer, manifold):
    model = make(manifold, layer)
    points = model.points(random_images(3, 2, 9, 12))
    widths = [4 if layer == "edgeconv" else 2, 8, 6]
    sizes = [(9, 12), (5, 6), (5, 6)]
    for x, width, size in zip(points, widths, sizes, strict=True):
        assert x.shape == (3, manifold.ambient_dim(width), *size)
        torch.testing.assert_close(manifold.projx(x.movedim(1, -1)).movedim(-1, 1), x)


@pytest.mark.parametrize("manifold", MANIFOLDS)
@pytest.mark.parametrize("layer", LAYERS)
def test_the_samples_of_a_batch_do_not_mix(layer, manifold):
    model = make(manifold, layer).eval()
    x = random_images(4, 2, 9, 12)
    torch.testing.assert_close(model(x)[2:], model(x[2:]), rtol=1e-4, atol=1e-5)


def randomise_norms(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model.eval()


def test_the_twin_of_h_conv_1_is_an_ordinary_network():
    model = randomise_norms(make(Euclidean(), "hconv1"))
    x = random_images(3, 2, 9, 12)
    expected = x
    for conv, stride in zip(model.convs, (2, 1), strict=True):
        expected = nn.functional.conv2d(expected, conv.conv.weight, None, stride, 1)
        expected = nn.functional.leaky_relu(conv.norm(expected), 0.2)
    norm, _, linear = model.head
    pooled = torch.cat([expected.amax((2, 3)), expected.mean((2, 3))], 1)
    torch.testing.assert_close(model(x), linear(norm(pooled)))


@pytest.mark.parametrize("manifold", MANIFOLDS)
@pytest.mark.parametrize("pivot", [False, True])
def test_a_layer_of_h_conv(pivot, manifold):
    layer = randomise_norms(NormedHConv2d(3, 4, 2, manifold=manifold, pivot=pivot)).double()
    x = manifold.exp0(torch.randn(2, 5, 7, 3, dtype=torch.float64)).movedim(-1, 1)
    inner = manifold.log0(layer.conv(x).movedim(1, -1))
    norm = layer.norm
    z = (inner - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    z = z * norm.weight + norm.bias
    expected = manifold.exp0(torch.where(z > 0, z, 0.2 * z)).movedim(-1, 1)
    assert layer.conv.pivot == pivot
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("manifold", MANIFOLDS)
@pytest.mark.parametrize("stride", [1, 2])
def test_a_layer_of_edge_convolution_by_loops(stride, manifold):
    layer = randomise_norms(EdgeConv2d(3, 4, stride, manifold=manifold)).double()
    x = manifold.exp0(torch.randn(2, 4, 5, 3, dtype=torch.float64))
    expected = torch.empty(2, -(-4 // stride), -(-5 // stride), 4, dtype=torch.float64)
    for image, row, col in torch.cartesian_prod(*map(torch.arange, expected.shape[:3])).tolist():
        i, j = stride * row, stride * col
        window = x[image, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].flatten(0, 1)
        centre = x[image, i, j].expand_as(window)
        inputs = torch.cat([manifold.log0(centre), manifold.rel(centre, window)], -1)
        expected[image, row, col] = layer.conv.nn(inputs).amax(0)
    torch.testing.assert_close(layer(x.movedim(-1, 1)).movedim(1, -1), manifold.exp0(expected))


def test_edge_convolutions_tell_directions():
    """A window is a set to them; the position among the channels makes up for it."""
    bars = -torch.ones(2, 2, 8, 8)
    bars[0, :, :, 3:5] = bars[1, :, 3:5, :] = 1
    model = make(PoincareBall(), "edgeconv")
    last = model.points(bars)[-1].flatten(2).amax(2)
    assert (last[0] - last[1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["poincare", "lorentz", "euclidean"])
@pytest.mark.parametrize("layer", LAYERS)
def test_points_start_at_moderate_radius(layer, name):
    model = build_image_net(CONFIG | {"layer": layer, "manifold": name}, 10)
    x = random_images(8, 1, 28, 28)
    radii = model.radii(x)
    assert list(radii) == ["input", "conv1", "conv2", "conv3", "conv4"]
    assert all(0.3 < radius < 2.5 for radius in radii.values()), radii
    position = [torch.linspace(-1, 1, 28).expand(8, 28, 28)] * (layer == "edgeconv")
    inputs = torch.stack([x[:, 0], *position, *(p.mT for p in position)], -1)
    half = 2 if name == "poincare" else 1  # the ball's metric at the origin is 4 x Euclidean
    assert radii["input"] == pytest.approx(half * inputs.norm(dim=-1).mean().item(), rel=1e-5)


@pytest.mark.parametrize("manifold", MANIFOLDS)
@pytest.mark.parametrize("layer", LAYERS)
def test_the_embedding_is_a_midpoint_per_image(layer, manifold):
    x = random_images(3, 2, 4, 4)
    single = make(manifold, layer, strides=(2, 2)).eval()  # 4 x 4 to 1 x 1 pixel
    torch.testing.assert_close(single.embedding(x), single.points(x)[-1][..., 0, 0])
    model = make(manifold, layer, strides=(2, 1)).eval()
    embedding, points = model.embedding(x), model.points(x)[-1].flatten(2).movedim(1, -1)
    assert embedding.shape == (3, manifold.ambient_dim(6))
    pull = manifold.rel(embedding.unsqueeze(1).expand_as(points), points).mean(1)
    assert (pull.norm(dim=-1) < 0.5 * manifold.rel(points[:, :1], points).norm(dim=-1).amax()).all()


def test_strides():
    def check(strides):
        arguments = argparse.Namespace(channels=(8, 8, 8), strides=strides)
        check_image_net_arguments(arguments)

    check(None)
    check((1, 1, 2))
    with pytest.raises(UsageError, match=r"--strides .* as many as --channels, 3 \(got 1,2\)"):
        check((1, 2))
    for strides, sizes in ((None, [28, 14, 14, 7]), ([1, 1, 2], [28, 28, 28, 14])):
        config = CONFIG | {"channels": [8, 8, 8], "strides": strides}
        points = build_image_net(config, 10).points(random_images(1, 1, 28, 28))
        assert [x.size(-1) for x in points] == sizes


def test_branches_start_small():
    layer = NormedHConv2d(8, 8, 1, manifold=PoincareBall(), pivot=True)
    assert layer.conv.weight.abs().max() <= 0.1 * 72**-0.5  # a tenth of Conv2d's bound
