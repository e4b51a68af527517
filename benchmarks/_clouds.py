"""Point clouds for the benchmarks: where they come from."""

import argparse
from pathlib import Path
from typing import Any

import torch
from _cli import UsageError, integer, one_line
from _data import Samples, path_name
from torch_geometric.data import Data, Dataset
from torch_geometric.datasets import ModelNet
from torch_geometric.transforms import Compose, SamplePoints

from torch_geometric_hyperbolic.datasets import ModelNetPoints, ShapePrimitives

MESHES = {"meshes": "40", "meshes10": "10"}


def add_cloud_arguments(parser: argparse.ArgumentParser, data: str | None = "primitives") -> None:
    """Adds the flags that choose the point clouds."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data",
        default=data,
        metavar="DATA",
        help="primitives: the generated ShapePrimitives; "
        "PATH or modelnet:PATH: folder in the modelnet40_ply_hdf5_2048 layout "
        "(an empty one is filled by download); meshes:PATH or meshes10:PATH: "
        "PyG's ModelNet40/10, points sampled on its OFF meshes"
        + ("" if data else " (default: as in training, if that was generated)"),
    )
    group.add_argument(
        "--num-points",
        type=integer(2),
        default=512 if data else None,
        help="points of a cloud the network sees" + ("" if data else " (default: as in training)"),
    )
    if data is None:
        return
    group.add_argument(
        "--pool-points",
        type=integer(2),
        help="points kept per cloud, from which every epoch draws --num-points "
        "(default: all of a file's; twice --num-points if generated)",
    )
    group.add_argument(
        "--per-class",
        type=integer(2),
        default=80,
        help="training clouds per class of primitives (a quarter as many for test)",
    )
    group.add_argument(
        "--data-seed",
        type=integer(0),
        default=0,
        help="seed of generated or sampled clouds, not --seed, so that runs of "
        "different seeds share one data set",
    )


def check_cloud_arguments(args: argparse.Namespace) -> None:
    """Raises a `UsageError` for flags that contradict each other."""
    if args.k >= args.num_points:
        raise UsageError(f"--k must be smaller than --num-points {args.num_points} (got {args.k})")
    if args.scale_low > args.scale_high:
        raise UsageError(
            f"--scale-low must not exceed --scale-high {args.scale_high:g} (got {args.scale_low:g})"
        )
    for flag in ("first_points", "fewest_points"):
        points = getattr(args, flag)
        if points is not None and points > args.num_points:
            raise UsageError(
                f"--{flag.replace('_', '-')} must not exceed --num-points {args.num_points} "
                f"(got {points})"
            )
    if args.pool_points is not None and args.pool_points < args.num_points:
        raise UsageError(
            f"--pool-points must be at least --num-points {args.num_points} "
            f"(got {args.pool_points})"
        )


def data_name(spec: str) -> str:
    """What a results file calls the data: never a path, only the folder's name."""
    kind, colon, path = spec.partition(":")
    return f"{kind}:{path_name(path)}" if colon and kind in MESHES else path_name(path or spec)


def load_clouds(config: dict[str, Any], spec: str, train: bool) -> Samples:
    """Loads one part of a data set as a tensor `[M, P, 3]`.

    Args:
        config (dict): `num_points`, `pool_points`, `per_class` and `data_seed` are read.
        spec (str): The value of `--data`.
        train (bool): Whether the training or the test part.
    """
    pool = config["pool_points"]
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config["data_seed"])
            samples = to_samples(open_dataset(config, spec, train))
    except (ValueError, OSError, RuntimeError) as error:
        raise UsageError(f"--data: {one_line(error)} (got {spec})") from error
    stored = samples.x.size(1)
    if max(config["num_points"], pool or 0) > stored:
        flag = "--num-points" if config["num_points"] > stored else "--pool-points"
        value = config["num_points"] if config["num_points"] > stored else pool
        raise UsageError(f"{flag}: the clouds of {spec} have {stored} points (got {value})")
    return Samples(samples.x[:, :pool].contiguous(), samples.y, samples.class_names)


def open_dataset(config: dict[str, Any], spec: str, train: bool) -> Dataset:
    """The PyG data set a `--data` value names."""
    kind, colon, path = spec.partition(":")
    pool = config["pool_points"] or 2 * config["num_points"]
    if spec == "primitives":
        count = config["per_class"] if train else max(config["per_class"] // 4, 1)
        return ShapePrimitives(
            train, num_per_class=count, num_points=pool, seed=config["data_seed"]
        )
    if colon and kind in MESHES:
        transform = Compose([SamplePoints(pool), in_unit_sphere])
        return ModelNet(path, MESHES[kind], train=train, transform=transform)
    root = path if colon and kind == "modelnet" else spec
    if not Path(root).is_dir() and not (colon and kind == "modelnet"):
        raise FileNotFoundError("no such folder, and neither primitives nor modelnet:PATH")
    return ModelNetPoints(root, train)


def in_unit_sphere(cloud: Data) -> Data:
    """Centres and scales a cloud as the HDF5 files are."""
    pos = cloud.pos - cloud.pos.mean(0)
    cloud.pos = pos / pos.norm(dim=1).max()
    return cloud


def to_samples(dataset: Dataset) -> Samples:
    """Stacks a PyG data set of equally large clouds into one tensor."""
    clouds = [dataset[i] for i in range(len(dataset))]
    sizes = {cloud.pos.size(0) for cloud in clouds}
    if len(sizes) != 1:
        raise ValueError(f"clouds must have one common size, found {len(sizes)} different ones")
    names = getattr(dataset, "class_names", None)
    if names is None and isinstance(dataset, ModelNet) and Path(dataset.raw_dir).is_dir():
        names = sorted(path.name for path in Path(dataset.raw_dir).iterdir() if path.is_dir())
    return Samples(
        torch.stack([cloud.pos for cloud in clouds]).float(),
        torch.cat([cloud.y.view(-1) for cloud in clouds]).long(),
        list(names) if names else [str(label) for label in range(dataset.num_classes)],
    )
