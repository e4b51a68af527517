"""Finding the linear map that a layer may apply to nodes instead of edges."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch_geometric.nn
from torch import Tensor
from torch.nn import Identity

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
    """A network as a linear layer and the modules that follow it."""

    linear: torch.nn.Linear
    rest: tuple[torch.nn.Module, ...]

    def follow(self, x: Tensor) -> Tensor:
        """The rest of the network, applied to what the linear layer gave."""
        for module in self.rest:
            x = module(x)
        return x


def split_first_linear(nn: Callable[[Tensor], Tensor]) -> Split | None:
    """The first linear layer of ``nn`` and the rest of it, or :obj:`None`.

    Found where applying it elsewhere cannot be noticed: ``nn`` is a linear layer, or a
    :class:`torch.nn.Sequential` or PyG's :class:`~torch_geometric.nn.MLP` that begins with one,
    neither has hooks or parametrizations, and its size is known.
    """
    first, *rest = _modules(nn)
    if type(first) not in LINEAR or has_hooks(first) or has_hooks(nn):
        return None
    return Split(first, tuple(rest))


def _modules(nn: Any) -> list[Any]:
    """What ``nn`` applies one after the other, as far as that is known."""
    if type(nn) is torch.nn.Sequential and len(nn) > 0:
        return list(nn)
    if type(nn) is not torch_geometric.nn.MLP:
        return [nn]
    drops = nn.training and any(nn.dropout)
    function = nn.act is not None and not isinstance(nn.act, torch.nn.Module)
    if drops or function or nn.supports_norm_batch:
        return [nn]
    modules: list[Any] = []
    for lin, norm in zip(nn.lins, nn.norms, strict=False):  # a plain last layer has no norm
        modules += [lin, nn.act, norm] if nn.act_first else [lin, norm, nn.act]
    if nn.plain_last:
        modules.append(nn.lins[-1])
    return [m for m in modules if m is not None and (type(m) is not Identity or has_hooks(m))]


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
