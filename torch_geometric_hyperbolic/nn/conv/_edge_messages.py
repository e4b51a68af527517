"""Edge convolutions as message passing: the definition, with which the fused ones agree."""

from collections.abc import Callable
from typing import Any, Optional

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.typing import Adj, OptTensor, PairOptTensor

from torch_geometric_hyperbolic.checks import has_values, is_readable
from torch_geometric_hyperbolic.kernels.dispatch import in_transforms
from torch_geometric_hyperbolic.manifolds import Manifold
from torch_geometric_hyperbolic.nn.conv._first_linear import Split, split_first_linear
from torch_geometric_hyperbolic.nn.conv._fused_edges import REDUCTIONS
from torch_geometric_hyperbolic.nn.conv._window import Description, describe_edges
from torch_geometric_hyperbolic.nn.resolver import acts_on_points
from torch_geometric_hyperbolic.typing import WITH_TORCH_SCATTER

#: Hooks of message passing that a subclass may change, and the steps that may be watched.
HOOKS = ("message", "aggregate", "message_and_aggregate", "update", "edge_update")
WATCHED = ("propagate", "message", "aggregate")


class EdgeMessages(MessagePassing):
    r"""Passes :math:`h(\log_0 x_i \, \Vert \, \operatorname{rel}(x_i, x_j))`, a tangent vector at
    the origin, along every edge.

    Subclasses define ``nn`` and ``manifold``, and may bypass ``propagate`` where no hook, explainer
    or subclass would notice.
    """

    nn: Callable[[Tensor], Tensor]
    manifold: Manifold

    def _description(self) -> Optional[Description]:
        """How windows are described; :obj:`None` for their raw coordinates."""
        return None

    def _set_jittable_templates(self, raise_on_error: bool = False) -> None:
        """Where PyG compiles a class's ``propagate``, when one is made or unpickled.

        It compiles no subclass of a compiled class, which would keep its parent's hooks and, for
        explanations, its parent's ``propagate``, which knows no masks.
        """
        own: Any = type(self)
        parents = (base for base in own.__mro__ if issubclass(base, MessagePassing))
        parent = next(base for base in parents if "propagate" in base.__dict__)
        if any(getattr(own, hook) is not getattr(parent, hook) for hook in HOOKS):
            own.propagate = MessagePassing.propagate
        super()._set_jittable_templates(raise_on_error)
        own._orig_propagate = MessagePassing.propagate

    def __setstate__(self, data: dict[str, Any]) -> None:
        """PyG compiles ``propagate`` from sources: those of now, not of when it was pickled."""
        data["inspector"]._source_dict.clear()
        super().__setstate__(data)

    def _keeps(self, hook: str) -> bool:
        """Whether nobody has changed a hook, in a subclass, in this class, or in this layer."""
        return getattr(type(self), hook) is UNCHANGED[hook] and hook not in self.__dict__

    def _is_plain(self) -> bool:
        """Whether nobody watches, or has changed, the steps of message passing."""
        plain = not self.explain and self.decomposed_layers == 1
        unchanged = all(map(self._keeps, HOOKS))
        watched = any(
            getattr(self, f"_{step}_forward_pre_hooks") or getattr(self, f"_{step}_forward_hooks")
            for step in WATCHED
        )
        return plain and unchanged and not watched

    def _reduces_segments(self, messages: Tensor) -> bool:
        """Whether sorted edges are reduced as segments, which is faster than scatter."""
        if in_transforms() or not (has_values(messages) or torch.compiler.is_compiling()):
            return False  # torch-scatter's would look for values
        reduce = REDUCTIONS.get(type(self.aggr_module))
        if reduce not in ("max", "min"):
            return reduce is not None
        # PyTorch's own gradient is wrong where several values of a segment are the largest.
        # torch-scatter's extremes skip NaN.
        return WITH_TORCH_SCATTER and is_readable(messages) and not messages.isnan().any()

    def _convolve(
        self,
        source: Tensor,
        target: Tensor,
        edge_index: Adj,
        split: Optional[Split],
        rowptr: OptTensor = None,
    ) -> Tensor:
        p_i, s_i = self.manifold.chart(target)
        p_j, s_j = (p_i, s_i) if source is target else self.manifold.chart(source)
        absolute = self.manifold.log0(target)
        relative: PairOptTensor = (None, None)
        if split is not None and self._description() is None:
            weight, width = split.linear.weight, p_i.size(-1)
            absolute = linear(absolute, weight[:, :width], split.linear.bias)
            to_relative = weight[:, width:].double()
            relative_i = linear(p_i.double(), to_relative)
            relative_j = relative_i
            if source is not target:
                relative_j = linear(p_j.double(), to_relative)
            relative = (relative_j, relative_i)

        out = self.propagate(
            edge_index,
            x=(source, target),  # for the messages of subclasses
            p=(p_j, p_i),
            s=(s_j, s_i),
            absolute=absolute if source is target else (None, absolute),
            relative=relative,
            rowptr=rowptr,
            num_targets=target.shape[self.node_dim],
        )
        return out if acts_on_points(self.aggr_module) else self.manifold.exp0(out)

    def message(
        self,
        p_i: Tensor,
        p_j: Tensor,
        s_i: Tensor,
        s_j: Tensor,
        absolute_i: Tensor,
        relative_i: OptTensor,
        relative_j: OptTensor,
        index: Tensor = None,  # type: ignore[assignment]  # annotated alike in all hooks, for PyG
        dim_size: Optional[int] = None,
        num_targets: Optional[int] = None,
    ) -> Tensor:
        # nn(cat([log0(x_i), rel(x_i, x_j)])), where nn's first layer may have met the nodes already
        # and both vectors may be described in another way.
        on_nodes = relative_i is not None
        if relative_i is None or relative_j is None:
            relative_i, relative_j = p_i, p_j
        alpha, beta = self.manifold.rel_coefficients(p_i, s_i, p_j, s_j)
        difference = (relative_j - relative_i).to(alpha.dtype)
        relative = alpha * difference - beta * relative_i.to(alpha.dtype)
        relative = relative.to(absolute_i.dtype)
        describe = self._description()
        if describe is not None:
            size = dim_size if num_targets is None else num_targets
            if index is None or size is None:
                raise ValueError("'index' must reach 'message', with 'dim_size' (got None)")
            absolute_i, relative = describe_edges(describe, relative, index, size)
        split = split_first_linear(self.nn)
        if split is None or not on_nodes:
            out = self.nn(torch.cat([absolute_i, relative], dim=-1))
        else:
            out = split.follow(absolute_i + relative)
        return self.manifold.exp0(out) if acts_on_points(self.aggr_module) else out

    def aggregate(
        self,
        inputs: Tensor,
        index: Tensor,
        ptr: OptTensor = None,
        dim_size: Optional[int] = None,
        rowptr: OptTensor = None,
        num_targets: Optional[int] = None,
    ) -> Tensor:
        if num_targets is not None:  # PyG counts the first of a pair where the flow is reversed
            dim_size = num_targets
        # Sorted by centre: segments are several times faster than scatter.
        if rowptr is not None and self._reduces_segments(inputs):
            return self.aggr_module(inputs, ptr=rowptr, dim_size=dim_size, dim=self.node_dim)
        return super().aggregate(inputs, index, ptr, dim_size)


#: Our own hooks: whatever else stands in their place, now or later, is called.
UNCHANGED = {hook: getattr(EdgeMessages, hook) for hook in HOOKS}
