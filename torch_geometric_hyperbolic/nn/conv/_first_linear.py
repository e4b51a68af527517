"""Finding the linear map that a layer may apply to nodes instead of edges."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch_geometric.nn
from torch import Tensor
from torch.nn.modules.module import _has_any_global_hook

LINEAR = (torch.nn.Linear, torch_geometric.nn.Linear)


class Split(NamedTuple):
    """A network as a linear layer and what follows it."""

    linear: torch.nn.Linear
    rest: Callable[[Tensor], Tensor]


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


def has_hooks(module: Any) -> bool:
    """Whether somebody watches a module's calls, alone or among all modules', or has put a
    ``forward`` of their own on it.
    """
    return "forward" in vars(module) or bool(
        _has_any_global_hook()
        or module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
