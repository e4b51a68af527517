"""Where the points of a new network lie, with its derivation."""

import torch

#: Expected largest of 20 standard normal numbers: what max aggregation over 20 neighbours sees.
LARGEST_OF_20 = 1.87


def moderate_radius_(norm: torch.nn.BatchNorm1d, radius: float) -> None:
    r"""Scale a batch norm so that tangent vectors behind it start with about this length.

    After the norm a coordinate is :math:`w z` with :math:`z` standard normal, after the largest of
    20 neighbours about :math:`1.87\,w`, and the vector of :math:`F` coordinates has length
    :math:`1.87\,w \sqrt F`. Without this, 64 channels would start at length 15, where neighbouring
    points of hyperbolic space are almost all equally far.
    """
    weight = radius / (LARGEST_OF_20 * norm.num_features**0.5)
    torch.nn.init.constant_(norm.weight, weight)
