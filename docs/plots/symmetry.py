"""Draws the pictures of the page Symmetry into `docs/source/_static/symmetry`."""

import math
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from torch import Tensor

from torch_geometric_hyperbolic.geometry.harmonic import spherical_function
from torch_geometric_hyperbolic.kernels import local_coordinates
from torch_geometric_hyperbolic.manifolds import PoincareBall

OUT = Path(__file__).parent.parent / "source" / "_static" / "symmetry"
BLUE, ORANGE, GREY = "#1f5fa8", "#d9661f", "#9aa3ad"
WAVES = LinearSegmentedColormap.from_list("waves", [BLUE, "white", ORANGE])
BALL = PoincareBall()
NEIGHBOURS = 6


def window(seed: int, spread: float = 0.45) -> Tensor:
    """A pivot at the origin and its neighbours, ``[1 + NEIGHBOURS, 2]``."""
    generator = torch.Generator().manual_seed(seed)
    v = spread * torch.randn(NEIGHBOURS, 2, generator=generator, dtype=torch.float64)
    return BALL.exp0(torch.cat([torch.zeros_like(v[:1]), v]))


def moved(x: Tensor, angle: float, to: tuple[float, float]) -> Tensor:
    """Points turned about the origin, then moved so that the origin lies at ``exp0(to)``."""
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=x.dtype
    )
    return BALL.move(BALL.exp0(torch.tensor(to, dtype=x.dtype)), BALL.log0(x) @ turn.T)


def draw_disk(axes: Axes, title: str) -> None:
    """The boundary and the origin."""
    axes.add_patch(plt.Circle((0, 0), 1, fill=False, color="black", linewidth=1.2, zorder=6))
    axes.set(xlim=(-1.04, 1.04), ylim=(-1.04, 1.04), aspect="equal", title=title)
    axes.axis("off")


def draw_window(axes: Axes, x: Tensor, color: str) -> None:
    """A window with its geodesics."""
    time = torch.linspace(0, 1, 60, dtype=x.dtype)[:, None]
    for v in BALL.rel(x[0], x[1:]):
        axes.plot(*BALL.move(x[0], time * v).T, color=color, linewidth=1.4, zorder=3)
    axes.scatter(*x[1:].T, s=22, color=color, zorder=4)
    axes.scatter(*x[0], s=50, color=color, edgecolor="black", zorder=5)


def draw_vectors(axes: Axes, v: Tensor, color: str, **arrow: object) -> None:
    """Arrows from the origin."""
    for end in v:
        style = {"arrowstyle": "->", "color": color, "shrinkA": 0, "shrinkB": 0, **arrow}
        axes.annotate("", end, (0, 0), arrowprops=style)
    axes.scatter(0, 0, s=30, marker="+", color="black", zorder=5)


def draw_frames() -> None:
    """A window in two positions, the vectors of both, and these in the windows' own frames."""
    x = window(30, 0.4)
    windows = [(moved(x, 0.3, (-0.55, 0.1)), BLUE), (moved(x, 1.6, (0.55, 0.45)), ORANGE)]
    figure, (disk, raw, framed) = plt.subplots(1, 3, figsize=(13, 4.4))
    draw_disk(disk, "a window, and the same window\nunder an isometry")
    disk.scatter(0, 0, s=30, marker="+", color="black", zorder=5)
    rel = [BALL.rel(x[0], x[1:]) for x, _ in windows]
    rowptr = torch.tensor([0, NEIGHBOURS])
    own = [local_coordinates(v, rowptr) for v in rel]
    styles = [{"lw": 3.0}, {"lw": 1.4, "linestyle": (0, (4, 2))}]
    reach = 1.1 * torch.stack(rel).norm(dim=-1).max().item()
    for (x, color), v, z, style in zip(windows, rel, own, styles, strict=True):
        draw_window(disk, x, color)
        draw_vectors(raw, v, color, lw=1.6)
        draw_vectors(framed, z, color, **style)
    longest = rel[0].norm(dim=-1).argmax()
    start, end = (math.atan2(*v[longest].flip(0).tolist()) for v in rel)
    angle = torch.linspace(start, start + (end - start) % (2 * math.pi), 60)
    arc = 0.55 * torch.stack([angle.cos(), angle.sin()])
    raw.plot(*arc[:, :-1], color=GREY, linewidth=1.2)
    style = {"arrowstyle": "->", "color": GREY, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
    raw.annotate("", arc[:, -1], arc[:, -3], arrowprops=style)
    raw.set_title("rel$(x_i, x_j)$: the vectors of one\nare those of the other, turned")
    framed.set_title("in the window's own frame:\nthe same coordinates")
    for axes in (raw, framed):
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axes.axis("off")
    figure.savefig(OUT / "frames.png", dpi=130, bbox_inches="tight")


def inside(size: int) -> tuple[Tensor, Tensor, Tensor]:
    """A grid of the disk: both coordinates and the points, those outside not a number."""
    line = torch.linspace(-1, 1, size, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    grid[grid.norm(dim=-1) >= 0.999] = math.nan
    return line, line, grid.view(size, size, 2).transpose(0, 1)


def draw_waves(frequency: float = 4.0) -> None:
    """A horocyclic wave, a window as a signal, and the spherical function of that frequency."""
    angle = 0.5
    omega = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    figure, (wave, signal, radial) = plt.subplots(1, 3, figsize=(13, 4.9))
    across, up, grid = inside(700)
    outside = grid[..., 0].isnan()
    points = grid.nan_to_num(0.0)
    ahead = BALL.busemann(points, omega)
    values = (ahead / 2).exp() * (frequency * ahead).cos()
    phi = spherical_function(BALL.dist0(points), frequency, n=2, c=1.0)
    for axes, field, limit in ((wave, values, 3.0), (radial, phi, 0.5)):
        field = field.masked_fill(outside, math.nan)
        options = {"cmap": WAVES, "vmin": -limit, "vmax": limit, "shading": "nearest"}
        axes.pcolormesh(across, up, field, rasterized=True, **options)

    draw_disk(
        wave, r"a wave $\mathrm{Re}\,e^{(\rho + i \lambda) B(x,\, \omega)}$ and its horocycles"
    )
    crests = torch.arange(-2, 4) * 2 * math.pi / frequency
    for half in crests.div(2).tanh().tolist():  # a horocycle meets the ray to omega there
        centre = omega * (1 + half) / 2
        circle = plt.Circle(centre, (1 - half) / 2, fill=False, color="black", linewidth=0.6)
        wave.add_patch(circle)
    wave.scatter(*omega, s=40, color="black", zorder=7, clip_on=False)
    wave.annotate(r"$\omega$", omega, xytext=(7, 3), textcoords="offset points", fontsize=14)

    x = moved(window(44, 0.5), 0.0, (0.1, 0.15))
    draw_disk(signal, "a window, taken for a signal:\na mass on each of its points")
    signal.scatter(*x[1:].T, s=60, color=BLUE, zorder=4)
    signal.scatter(*x[0], s=90, color=ORANGE, zorder=5)
    signal.annotate("$x_i$", x[0], xytext=(-6, -17), textcoords="offset points", fontsize=13)

    draw_disk(
        radial, r"the mean of the waves over all $\omega$:" "\n" r"$\varphi_\lambda(d(0, x))$"
    )
    figure.savefig(OUT / "waves.png", dpi=130, bbox_inches="tight")


def power(x: Tensor, frequency: Tensor) -> Tensor:
    """The power of equal masses on the points at each frequency."""
    distance = BALL.dist(x[:, None], x[None])[..., None]
    return spherical_function(distance, frequency, n=2, c=1.0).mean(dim=(0, 1))


def draw_spectra(time: float = 0.03) -> None:
    """Two windows, one of them in two positions, and their power spectra."""
    first = moved(window(4, 0.4), 0.0, (-0.5, -0.3))
    second = moved(first, 2.6, (0.3, 0.6))
    other = moved(window(44, 0.4), 0.0, (0.6, -0.7))
    figure, (disk, spectrum) = plt.subplots(
        1, 2, figsize=(12, 4.7), gridspec_kw={"width_ratios": [1, 1.5]}
    )
    draw_disk(disk, "a window, the same one moved,\nand another")
    frequency = torch.linspace(0, 10, 400, dtype=torch.float64)
    for x, color, label, style in (
        (first, BLUE, "a window", {"linewidth": 4}),
        (second, ORANGE, "moved by an isometry", {"linestyle": (0, (4, 3)), "linewidth": 1.8}),
        (other, GREY, "another window", {"linewidth": 2}),
    ):
        draw_window(disk, x, color)
        spectrum.plot(frequency, power(x, frequency), color=color, label=label, **style)
    smooth = (-2 * time * (frequency**2 + 0.25)).exp() * power(first, frequency)
    label = f"the first, smoothed by heat, $t = {time}$"
    spectrum.plot(frequency, smooth, color="black", linewidth=1.2, linestyle=":", label=label)
    spectrum.set(xlabel=r"frequency $\lambda$", ylabel=r"power $P(\lambda)$", xlim=(0, 10))
    spectrum.set_ylim(bottom=0)
    spectrum.set_title(r"$P(\lambda) = \sum_{jk} w_j w_k \, \varphi_\lambda(d(x_j, x_k))$")
    spectrum.spines[["top", "right"]].set_visible(False)
    spectrum.legend(frameon=False)
    figure.savefig(OUT / "spectra.png", dpi=130, bbox_inches="tight")


def main() -> None:
    """All pictures."""
    OUT.mkdir(parents=True, exist_ok=True)
    draw_frames()
    draw_waves()
    draw_spectra()


if __name__ == "__main__":
    main()
