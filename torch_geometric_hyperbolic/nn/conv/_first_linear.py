"""Finding the linear map that a layer may apply to nodes instead of edges."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch_geometric.nn
from torch import Tensor

LINEAR = (torch.nn.Linear, torch_geometric.nn.Linear)

#: Where modules come from to which the order of rows makes no difference.
WITHOUT_ORDER = (
    "torch.nn.modules.activation.",
    "torch.nn.modules.batchnorm.",
    "torch.nn.modules.container.",
    "torch.nn.modules.dropout.",
    "torch.nn.modules.linear.",
    "torch.nn.modules.normalization.",
    "torch_geometric.nn.aggr.basic.",
    "torch_geometric.nn.aggr.fused.",
    "torch_geometric.nn.aggr.multi.",
    "torch_geometric.nn.aggr.quantile.",
    "torch_geometric.nn.dense.linear.",
    "torch_geometric.nn.norm.",
    "torch_geometric_hyperbolic.",
)


class Split(NamedTuple):
    """A network as a linear layer and what follows it."""

    linear: torch.nn.Linear
    rest: torch.nn.Module


def split_first_linear(nn: Callable[[Tensor], Tensor]) -> Split | None:
    """The first linear layer of ``nn`` and the rest of it, or :obj:`None`.

    Found where applying it elsewhere cannot be noticed: ``nn`` is a linear layer or a
    :class:`torch.nn.Sequential` that begins with one, neither has hooks or parametrizations, and
    its size is known.
    """
    first: Any = nn
    rest: torch.nn.Module = torch.nn.Identity()
    if type(nn) is torch.nn.Sequential and len(nn) > 0:
        first, rest = nn[0], nn[1:]
    if type(first) not in LINEAR or has_hooks(first) or has_hooks(nn):
        return None
    return Split(first, rest)


def takes_any_order(*modules: torch.nn.Module) -> bool:
    """Whether the order of rows is known to make no difference to modules, and no hook sees it."""
    parts = [part for module in modules for part in module.modules()]
    known = all(f"{type(part).__module__}.".startswith(WITHOUT_ORDER) for part in parts)
    return known and not any(map(has_hooks, parts))


def has_hooks(module: Any) -> bool:
    """Whether somebody watches a module's calls, or has put a ``forward`` of their own on it.

    Global hooks do not count: operation counters set them, and should count what really runs.
    """
    return "forward" in module.__dict__ or bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
