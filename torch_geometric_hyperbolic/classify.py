"""The command ``tgh-classify``: what do the shapes in these files look like?

Meshes and point clouds are brought into the form of ModelNet40's clouds, which the networks were
trained on: ``num_points`` points of the surface, centred, in the unit sphere, with z up.
"""

import argparse
import io
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_geometric_hyperbolic._shape_files import read_shape
from torch_geometric_hyperbolic.nn.models import HyperbolicDGCNN

#: The networks for clouds as in training, and for clouds of fewer points.
NETWORK, SPARSE = "modelnet40-85k", "modelnet40-85k-sparse"

#: Quarter turns that take an axis to z: the coordinates in their new order, and their signs.
TURNS = {
    "x": ([2, 1, 0], [-1, 1, 1]),
    "y": ([0, 2, 1], [1, -1, 1]),
    "z": ([0, 1, 2], [1, 1, 1]),
}


def _in_unit_sphere(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centres the points on their mean and scales the farthest to radius 1."""
    if not np.isfinite(points).all():
        raise ValueError("the coordinates must be finite (got NaN or infinity)")
    if (points == points[0]).all():
        raise ValueError(f"the points must differ (got {len(points)} equal points)")
    points = points / np.abs(points).max()  # so that no square overflows or vanishes
    points = points - points.mean(axis=0)
    return points / np.linalg.norm(points, axis=1).max()


def _sample_surface(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], num_points: int, seed: int
) -> NDArray[np.float64]:
    """Points drawn uniformly by area, ``[num_points, 3]``."""
    import trimesh

    mesh = trimesh.Trimesh(vertices, faces, process=False)
    if not mesh.area > 0:
        raise ValueError(f"the surface must have an area (got {len(faces)} triangles without)")
    return np.array(trimesh.sample.sample_surface(mesh, num_points, seed=seed)[0])


def load_cloud(path: Path, num_points: int, least: int, seed: int, up: str) -> Tensor:
    """The cloud the network sees, ``[least <= P <= num_points, 3]``."""
    points, faces = read_shape(path)
    if not len(faces) and len(points) < least:
        raise ValueError(f"the network needs at least {least} points (got {len(points)})")
    points = _in_unit_sphere(points)
    if len(faces):
        points = _in_unit_sphere(_sample_surface(points, faces, num_points, seed))
    elif len(points) > num_points:
        points = points[np.random.default_rng(seed).permutation(len(points))[:num_points]]
    order, signs = TURNS[up]
    return torch.from_numpy(points[:, order] * signs).float()


@torch.no_grad()
def _most_likely(model: HyperbolicDGCNN, pos: Tensor, top: int) -> list[dict[str, Any]]:
    """The ``top`` classes of one cloud and their probabilities, the likeliest first."""
    logits = model(pos, torch.zeros(len(pos), dtype=torch.long))
    values, indices = logits[0].double().softmax(-1).sort(descending=True)
    ranked = list(zip(indices.tolist(), values.tolist(), strict=True))
    return [{"name": model.class_names[i], "probability": value} for i, value in ranked[:top]]


def _text(results: list[dict[str, Any]], width: int) -> str:
    """A line for each file, and one below it for each class, its name padded to ``width``."""
    lines = []
    for result in results:
        lines.append(result["file"])
        for row in result["classes"]:
            lines.append(f"  {row['name']:{width}}  {100 * row['probability']:5.1f} %")
    return "".join(f"{line}\n" for line in lines)


class _Parser(argparse.ArgumentParser):
    """Its errors are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def _integer(low: int) -> Callable[[str], int]:
    """Flag type: an integer of at least ``low``."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d+", text) or int(text) < low:
            raise argparse.ArgumentTypeError(f"must be an integer of at least {low} (got {text!r})")
        return int(text)

    return parse


def _make_parser() -> _Parser:
    """The command's arguments."""
    parser = _Parser(
        prog="tgh-classify",
        description="Names the shapes in meshes and point clouds (OBJ, OFF, PLY, XYZ, NPY), "
        "with a network trained on ModelNet40.",
    )
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="meshes and point clouds")
    add("--top", type=_integer(1), default=3, help="classes shown of each file (default: 3)")
    add("--num-points", type=_integer(1), help="points the network sees (default: as in training)")
    add("--seed", type=_integer(0), default=0, help="of the points that are drawn (default: 0)")
    add("--up", choices=list(TURNS), default="z", help="the axis that points upwards (default: z)")
    add("--json", action="store_true", help="print a list of {file, classes}")
    add("--model", help=f"the network (default: {NETWORK}, and {SPARSE} for fewer points)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command. Returns 2 if a file could not be read (the others are classified), or 0."""
    parser = _make_parser()
    args = parser.parse_args(argv)
    try:
        model = HyperbolicDGCNN.from_pretrained(NETWORK if args.model is None else args.model)
    except ValueError as error:
        parser.error(f"argument --model: {error}")
    num_points = model.num_points if args.num_points is None else args.num_points
    least = model.min_points
    if num_points < least:
        parser.error(f"argument --num-points: must be at least {least} (got {num_points})")

    clouds, status = [], 0
    for path in args.files:
        try:
            clouds.append((path, load_cloud(path, num_points, least, args.seed, args.up)))
        except (ValueError, MemoryError) as error:
            message = " ".join(str(error).split())
            sys.stderr.write(f"{parser.prog}: error: {path}: {message}\n")
            status = 2

    sparse = model
    if args.model is None and any(len(pos) < model.num_points for _, pos in clouds):
        sparse = HyperbolicDGCNN.from_pretrained(SPARSE)
    results = []
    for path, pos in clouds:
        network = sparse if len(pos) < model.num_points else model
        results.append({"file": str(path), "classes": _most_likely(network, pos, args.top)})
    width = max(map(len, model.class_names))
    text = json.dumps(results, indent=2) + "\n" if args.json else _text(results, width)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names that its encoding lacks
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # or the rest would fail once more at exit
        parser.error(f"the classes cannot be written: {error.strerror}")
    return status


if __name__ == "__main__":
    sys.exit(main())
