"""Finding the linear map that a layer may apply to nodes instead of edges."""

from collections.abc import Callable

import torch
import torch_geometric.nn
from torch import Tensor

LINEAR = (torch.nn.Linear, torch_geometric.nn.Linear)


def split_first_linear(
    nn: object,
) -> tuple[torch.nn.Module, Callable[[Tensor], Tensor]] | tuple[None, None]:
    """The first linear layer of ``nn`` and the rest of it, or ``(None, None)``.

    Found where applying it elsewhere cannot be noticed: ``nn`` is a linear layer or a
    :class:`torch.nn.Sequential` that begins with one, neither has hooks or parametrizations, and
    its size is known.
    """
    first = nn[0] if type(nn) is torch.nn.Sequential and len(nn) > 0 else nn
    if type(first) not in LINEAR or _has_hooks(first) or _has_hooks(nn) or first.in_features < 1:
        return None, None
    return first, nn[1:] if first is not nn else _identity


def _has_hooks(module: torch.nn.Module) -> bool:
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def _identity(x: Tensor) -> Tensor:
    return x
