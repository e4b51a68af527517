"""Draws `docs/source/_static/window.png`: what a hyperbolic edge convolution sees of a window."""

from pathlib import Path

import matplotlib.pyplot as plt
import torch

from torch_geometric_hyperbolic.manifolds import PoincareBall
from torch_geometric_hyperbolic.nn import knn_graph

OUT = Path(__file__).parent.parent / "source" / "_static" / "window.png"
BLUE, ORANGE, GREY = "#1f5fa8", "#d9661f", "#9aa3ad"


def main() -> None:
    """Left the points and the window's geodesics in the disk, right the vectors the layer gets."""
    torch.manual_seed(7)
    ball = PoincareBall()
    points = ball.random(140, 2, std=0.75 * 2**0.5)
    edge_index = knn_graph(points, k=7, manifold=ball)
    pivot = int((ball.dist0(points) - 2.2).abs().argmin())
    neighbours = edge_index[0, edge_index[1] == pivot]
    x = points[pivot]
    rel = ball.rel(x, points[neighbours])

    figure, (disk, plane) = plt.subplots(1, 2, figsize=(10, 4.9))
    disk.add_patch(plt.Circle((0, 0), 1, fill=False, color="black", linewidth=1.2))
    disk.scatter(*points.T, s=12, color=GREY, zorder=2)
    time = torch.linspace(0, 1, 60)[:, None]
    for v in rel:
        disk.plot(*ball.move(x, time * v).T, color=BLUE, linewidth=1.4, zorder=3)
    home = ball.exp0(time * ball.log0(x))
    disk.plot(*home.T, color=ORANGE, linewidth=1.6, zorder=3)
    disk.scatter(*points[neighbours].T, s=22, color=BLUE, zorder=4)
    disk.scatter(*x, s=55, color=ORANGE, zorder=5)
    disk.scatter(0, 0, s=30, marker="+", color="black", zorder=5)
    disk.annotate("$x_i$", x, xytext=(7, 5), textcoords="offset points", fontsize=13)
    disk.annotate("0", (0, 0), xytext=(-12, -12), textcoords="offset points", fontsize=11)
    disk.set_title("a point, its nearest neighbours\nand the geodesics to them")

    for v in rel:
        plane.annotate("", v, (0, 0), arrowprops={"arrowstyle": "->", "color": BLUE, "lw": 1.5})
    plane.annotate(
        "", ball.log0(x), (0, 0), arrowprops={"arrowstyle": "->", "color": ORANGE, "lw": 1.9}
    )
    plane.scatter(0, 0, s=30, marker="+", color="black")
    reach = 1.15 * torch.cat([rel, ball.log0(x)[None]]).abs().max().item()
    plane.set(xlim=(-reach, reach), ylim=(-reach, reach))
    plane.plot([], [], color=ORANGE, label=r"$\log_0 x_i$: where it is")
    plane.plot([], [], color=BLUE, label=r"rel$(x_i, x_j)$: where its neighbours are")
    plane.legend(loc="lower center", bbox_to_anchor=(0.5, -0.2), ncol=2, frameon=False)
    plane.set_title("the ordinary vectors that the layer's\nnetwork is given")

    for axes in (disk, plane):
        axes.set_aspect("equal")
        axes.axis("off")
    disk.set(xlim=(-1.03, 1.03), ylim=(-1.03, 1.03))
    figure.savefig(OUT, dpi=130, bbox_inches="tight")


if __name__ == "__main__":
    main()
