"""Initial scales."""

import pytest
import torch

from torch_geometric_hyperbolic.nn.inits import LARGEST_OF_20, moderate_radius_


def test_the_constant_is_the_expected_largest_of_twenty_normals():
    assert torch.randn(200_000, 20).amax(1).mean().item() == pytest.approx(LARGEST_OF_20, abs=0.01)


@pytest.mark.parametrize("channels", [16, 64])
@pytest.mark.parametrize("radius", [0.5, 1.0])
def test_vectors_behind_the_norm_start_at_the_radius(channels, radius):
    norm = torch.nn.BatchNorm1d(channels)
    moderate_radius_(norm, radius)
    messages = norm(5 + 3 * torch.randn(20 * 500, channels)).view(500, 20, channels)
    assert messages.amax(1).norm(dim=-1).mean().item() == pytest.approx(radius, rel=0.1)
