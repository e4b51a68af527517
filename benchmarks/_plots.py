"""The pictures of a report."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from _files import atomic_path

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.patches import Circle  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402

#: For texts with names of classes, runs or data in them, which may hold anything.
LITERALLY = plt.rc_context({"text.parse_math": False})

MARKERS = "osD^vP"
COLOURS = [plt.get_cmap("tab20")(i) for i in (0, 2, 4, 6, 8, 10, 12, 14, 16, 18)]


def save(figure: Figure, path: Path) -> Path:
    """Writes a PNG atomically and closes the figure."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png", metadata={"Software": None})
    plt.close(figure)
    return path


def title(record: dict[str, Any]) -> str:
    """A run in a few words."""
    config = record["config"]
    curved = "" if config["manifold"] == "euclidean" else f", c = {config['curvature']:g}"
    return f"{record['data']['name']}, {config['manifold']}{curved}, seed {config['seed']}"


@LITERALLY
def plot_curves(records: list[dict[str, Any]], path: Path) -> Path:
    """Loss, accuracy and radius of the last layers over the epochs, all runs in one picture."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.6), layout="constrained")
    for number, record in enumerate(records):
        curves, colour = record["curves"], COLOURS[number % len(COLOURS)]
        epochs = range(1, len(curves["train_loss"]) + 1)
        style = {"color": colour, "marker": "o", "markersize": 3}
        for axis, key in zip(axes, ("loss", "oa"), strict=False):
            axis.plot(epochs, curves[f"train_{key}"], linestyle="--", **style)
            if f"val_{key}" in curves:
                axis.plot(epochs, curves[f"val_{key}"], **style)
        axes[2].plot([], [], label=record["name"], **style)
        draw_radii(axes[2], curves["radii"][-1], colour)
    names = ("cross-entropy (label smoothing)", "overall accuracy")
    for axis, name in zip(axes, names, strict=False):
        axis.set(xlabel="epoch", ylabel=name)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.plot([], [], color="grey", linestyle="--", label="training (augmented)")
        axis.plot([], [], color="grey", label="validation")
        axis.legend(frameon=False)
    axes[2].set(ylabel="mean radius of the points at the end", ylim=(0, None))
    handles, labels = axes[2].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.suptitle(f"{records[0]['data']['name']}: learning curves and where the points live")
    return save(figure, path)


def draw_radii(axis: Axes, radii: dict[str, float], colour: Any) -> None:
    """Radius per layer of one run."""
    axis.plot(list(radii), list(radii.values()), marker="o", markersize=3, color=colour)
    axis.tick_params(axis="x", rotation=30)


def plot_widths(runs: list[tuple[str, int, dict[str, Any]]], path: Path) -> Path:
    """Test accuracy against width: a curve of means per space, a marker per run.

    Args:
        runs (list): Name of the space, width and record of each run.
        path (Path): The PNG.
    """
    figure, axis = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
    for number, space in enumerate(dict.fromkeys(space for space, _, _ in runs)):
        style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        scores: dict[int, list[float]] = {}
        for _, width, record in (run for run in runs if run[0] == space):
            scores.setdefault(width, []).append(100 * record["test"]["last"]["oa"])
        for width, values in scores.items():
            axis.plot([width] * len(values), values, linestyle="", alpha=0.5, **style)
        widths = sorted(scores)
        axis.plot(widths, [np.mean(scores[width]) for width in widths], label=space, **style)
    ticks = sorted({width for _, width, _ in runs})
    axis.set_xscale("log", base=2)
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.set(xlabel="channels of every layer", ylabel="overall accuracy on the test set, %")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    return save(figure, path)


@LITERALLY
def plot_confusion(record: dict[str, Any], path: Path) -> Path:
    """Confusion matrix on the test set, rows scaled to 100 %."""
    counts = np.array(record["confusion"], dtype=float)
    share = 100 * counts / counts.sum(1, keepdims=True).clip(1)
    names, size = record["data"]["class_names"], len(counts)
    side = max(5.0, 0.27 * size + 2)
    figure, axis = plt.subplots(figsize=(side + 1, side), layout="constrained")
    picture = axis.imshow(share, cmap="Blues", vmin=0, vmax=100)
    font = 9 if size <= 20 else 7
    axis.set_xticks(range(size), names, rotation=90, fontsize=font)
    axis.set_yticks(range(size), names, fontsize=font)
    for row, column in np.argwhere(share >= 0.5):
        colour = "white" if share[row, column] > 55 else "black"
        axis.text(
            column,
            row,
            f"{share[row, column]:.0f}",
            ha="center",
            va="center",
            fontsize=font - 2,
            color=colour,
        )
    score = record["test"]["last"]
    axis.set(xlabel="predicted", ylabel="true")
    axis.set_title(
        f"{title(record)}\n% of each true class; OA {100 * score['oa']:.1f} %, "
        f"mAcc {100 * score['macc']:.1f} %",
        fontsize=10,
    )
    figure.colorbar(picture, ax=axis, shrink=0.8, label="%")
    return save(figure, path)


@LITERALLY
def plot_embedding(record: dict[str, Any], path: Path) -> Path:
    """Learnt points of the test samples in the unit disk, coloured by class."""
    embedding, names = record["embedding"], record["data"]["class_names"]
    xy, y = np.array(embedding["xy"]), np.array(embedding["y"])
    columns = 1 if len(names) <= 20 else 2
    figure, axis = plt.subplots(figsize=(7 + 1.7 * columns, 6.6), layout="constrained")
    disk = embedding["kind"] == "disk"
    if disk:
        axis.add_patch(Circle((0, 0), 1, facecolor="#f6f6f6", edgecolor="black"))
    for label, name in enumerate(names):
        chosen = xy[y == label]
        axis.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=16,
            alpha=0.8,
            linewidths=0,
            color=COLOURS[label % len(COLOURS)],
            marker=MARKERS[label // len(COLOURS) % len(MARKERS)],
            label=name,
        )
    limit = 1.03 if disk else 1.05 * float(np.abs(xy).max())
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    axis.set_axis_off()
    space = "Poincaré disk at the mean" if disk else "Euclidean plane at the mean"
    axis.set_title(
        f"{title(record)}\ntest samples, two principal components "
        f"({100 * embedding['explained']:.0f} %), {space}",
        fontsize=10,
    )
    axis.legend(
        loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7, frameon=False, ncols=columns
    )
    return save(figure, path)
