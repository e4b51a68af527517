"""Pictures of link prediction: scores over widths, and the points of a graph in the plane."""

from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from _plots import COLOURS, MARKERS, plt, save
from matplotlib.collections import LineCollection
from matplotlib.patches import Circle
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import degree

from torch_geometric_hyperbolic.manifolds import Euclidean, Manifold, PoincareBall
from torch_geometric_hyperbolic.nn import global_frechet_mean_pool

NAMES = {"poincare": "Poincaré ball", "euclidean": "Euclidean"}
STEPS = 64  # of a geodesic's curve


def plot_scores(
    graphs: Mapping[str, Mapping[tuple[int, str], list[dict[str, Any]]]], path: Path
) -> Path:
    """Area under the ROC curve over the numbers per node: means, and a marker for each seed.

    Args:
        graphs (mapping): The runs of every width and space, by the name of the graph.
        path (Path): The PNG.
    """
    figure, axes = plt.subplots(
        1, len(graphs), figsize=(4.4 * len(graphs) + 0.4, 4), layout="constrained", squeeze=False
    )
    for axis, (name, networks) in zip(axes[0], graphs.items(), strict=True):
        widths = list(dict.fromkeys(width for width, _ in networks))
        for number, (space, label) in enumerate(NAMES.items()):
            style = {"color": COLOURS[number], "marker": MARKERS[number]}
            scores = [[100 * run["test"] for run in networks[width, space]] for width in widths]
            for width, values in zip(widths, scores, strict=True):
                axis.plot([width] * len(values), values, linestyle="", alpha=0.35, **style)
            axis.plot(widths, [mean(values) for values in scores], label=label, **style)
        axis.set_xscale("log", base=2)
        axis.set_xticks(widths, [str(width) for width in widths])
        axis.set(xlabel="numbers per node", title=name)
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("area under the ROC curve, %")
    axes[0, 0].legend(frameon=False)
    return save(figure, path)


def plot_points(graph: Data, drawn: list[tuple[dict[str, Any], Tensor]], path: Path) -> Path:
    """The points of a graph's nodes in two dimensions and its edges as geodesics, space by space.

    Args:
        graph (Data): The graph, each edge in both directions.
        drawn (list): Runs and their points, ``[N, 2]``.
        path (Path): The PNG.
    """
    figure, axes = plt.subplots(
        1, len(drawn), figsize=(6.4 * len(drawn) + 0.8, 6.4), layout="constrained", squeeze=False
    )
    links = degree(graph.edge_index[0], graph.num_nodes)
    order = links.argsort()  # hubs on top
    for axis, (run, z) in zip(axes[0], drawn, strict=True):
        curved = run["manifold"] == "poincare"
        if curved:
            axis.add_patch(Circle((0, 0), 1, facecolor="#f6f6f6", edgecolor="black"))
            z = z * run["curvature"] ** 0.5  # points of the unit disk
        x = seen_from_mean(z, PoincareBall() if curved else Euclidean())
        curves = geodesics(x, graph.edge_index, curved).numpy()
        axis.add_collection(LineCollection(curves, colors="black", linewidths=0.25, alpha=0.35))
        shown = axis.scatter(
            *x[order].T,
            c=links[order].clamp(min=1),
            s=5 + 3 * links[order].sqrt(),
            norm="log",
            cmap="viridis",
            linewidths=0,
            zorder=2,
        )
        axis.set(aspect="equal")
        axis.set_axis_off()
        axis.set_title(f"{NAMES[run['manifold']]}: AUC {100 * run['test']:.1f} %")
    figure.colorbar(shown, ax=axes, shrink=0.7, label="edges of a node")
    return save(figure, path)


def seen_from_mean(z: Tensor, manifold: Manifold) -> Tensor:
    """Points moved by an isometry that takes their Frechet mean to the origin."""
    z = z.double()
    centre = global_frechet_mean_pool(z, None, manifold=manifold)
    return manifold.exp0(manifold.rel(centre.expand_as(z), z))


def geodesics(x: Tensor, edge_index: Tensor, curved: bool) -> Tensor:
    """The shortest curves between linked points of the plane or the unit disk, ``[E, S, 2]``."""
    ends = x[edge_index[:, edge_index[0] < edge_index[1]]]  # [2, E, 2]
    if curved:  # straight lines in Klein's disk
        ends = 2 * ends / (1 + ends.square().sum(-1, keepdim=True))
    share = torch.linspace(0, 1, STEPS, dtype=x.dtype)[:, None]
    curves = torch.lerp(ends[0][:, None], ends[1][:, None], share)
    if not curved:
        return curves
    gap = (1 - curves.square().sum(-1, keepdim=True)).clamp(min=0)
    return curves / (1 + gap.sqrt())
