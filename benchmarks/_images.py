"""Images for the benchmarks: where they come from."""

import argparse
import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from _cli import UsageError, integer, one_line
from _data import Samples, path_name
from _unpickle import ArrayUnpickler
from numpy.typing import NDArray

T = TypeVar("T")

#: Height, width and channels of the images that a prefix of `--data` asks for.
SHAPES = {"mnist": (28, 28, 1), "cifar10": (32, 32, 3)}

GENERATED = "bars"
GENERATED_CLASSES = ("horizontal bar", "falling bar", "vertical bar", "rising bar", "disc", "ring")


class Part(NamedTuple):
    """One part of a data set: images `[M, H, W]` or `[M, H, W, C]`, labels `[M]`, class names."""

    images: NDArray[Any]
    labels: NDArray[Any]
    class_names: Sequence[str]


def add_image_arguments(parser: argparse.ArgumentParser, data: str | None = GENERATED) -> None:
    """Adds the flags that choose the images."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data",
        default=data,
        metavar="DATA",
        help=f"{GENERATED}: generated bars, discs and rings; PATH: a .npz file of x_train, "
        "y_train, x_test and y_test, or a folder of MNIST's idx files or in the "
        "cifar-10-batches-py layout; mnist:PATH or cifar10:PATH: the same, which must hold images "
        "of that size" + ("" if data else " (default: as in training, if generated)"),
    )
    if data is not None:
        group.add_argument(
            "--per-class",
            type=integer(2),
            default=200,
            help=f"training images per class of {GENERATED} (a quarter as many for test)",
        )


def split_spec(spec: str) -> tuple[str, str]:
    """The prefix of a `--data` value, if it is one of ours, and the path."""
    kind, _, path = spec.partition(":")
    return (kind, path) if kind in SHAPES else ("", spec)


def data_name(spec: str) -> str:
    """What a results file calls the data: never a path, only the name of the file or folder."""
    return path_name(split_spec(spec)[1]).removesuffix(".npz")


def load_images(config: dict[str, Any], spec: str, train: bool) -> Samples:
    """Loads one part of a data set as a uint8 tensor `[M, C, H, W]`.

    Args:
        config (dict): `per_class` is read.
        spec (str): The value of `--data`.
        train (bool): Whether the training or the test part.
    """
    if spec == GENERATED:
        count = config["per_class"] if train else max(config["per_class"] // 4, 1)
        return to_samples(generate_bars(count, seed=0 if train else 1))
    kind, path = split_spec(spec)
    try:
        samples = to_samples(read_part(Path(path), train))
        channels, height, width = samples.x.shape[1:]
        if kind and (height, width, channels) != SHAPES[kind]:
            raise ValueError(f"not images of {kind}, but {height} x {width} x {channels}")
    except Exception as error:  # damaged files raise nearly anything, from KeyError to BadZipFile
        raise UsageError(f"--data: {one_line(error)} (got {spec})") from error
    return samples


def read_part(path: Path, train: bool) -> Part:
    """Reads a data set, whose layout shows in the names of its files."""
    if path.is_file():
        return read_npz(path, train)
    if (path / "test_batch").is_file():
        return read_batches(path, train)
    if any(path.glob("t10k-images*")):
        return read_idx(path, train)
    if path.is_dir():
        raise FileNotFoundError("neither MNIST's idx files nor cifar-10-batches-py in this folder")
    raise FileNotFoundError(f"no such file or folder, and not {GENERATED}")


def read_npz(path: Path, train: bool) -> Part:
    """Reads `x_train`, `y_train`, `x_test`, `y_test` and, if there, `class_names`."""
    name = "train" if train else "test"
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        names = words(file["class_names"]) if "class_names" in file else numbers(file["y_train"])
        return Part(file[f"x_{name}"], file[f"y_{name}"], names)


def words(names: NDArray[Any]) -> list[str]:
    """Names of classes, as text or bytes."""
    if names.ndim != 1:
        raise ValueError(f"class_names must have one dimension, got shape {list(names.shape)}")
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names.tolist()]


def by_name(read: Callable[[Path], T], path: Path) -> T:
    """What `read` finds in one of several files; its errors tell in which."""
    try:
        return read(path)
    except Exception as error:
        raise ValueError(f"{path.name}: {one_line(error)}") from error


def read_idx(path: Path, train: bool) -> Part:
    """Reads MNIST's own files, plain or compressed."""
    name = "train" if train else "t10k"
    files = [f"{name}-images-idx3-ubyte", f"{name}-labels-idx1-ubyte"]
    images, labels = (by_name(read_idx_file, path / file) for file in files)
    return Part(images, labels, numbers(np.arange(10)))


def read_idx_file(path: Path) -> NDArray[Any]:
    """Reads one array of bytes: two zeros, type 8, number of dimensions, sizes, values."""
    packed = path.with_name(f"{path.name}.gz")
    content = gzip.decompress(packed.read_bytes()) if packed.is_file() else path.read_bytes()
    if content[:3] != b"\0\0\x08":
        raise ValueError("not an idx file of bytes")
    start = 4 + 4 * content[3]
    return np.frombuffer(content, np.uint8, offset=start).reshape(
        np.frombuffer(content[4:start], ">u4")
    )


def read_batches(path: Path, train: bool) -> Part:
    """Reads the `cifar-10-batches-py` layout: pickles of rows of red, green and blue planes."""
    files = [f"data_batch_{i}" for i in range(1, 6)] if train else ["test_batch"]
    batches = [by_name(read_pickle, path / file) for file in files]
    images = np.concatenate([batch[b"data"] for batch in batches]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([batch[b"labels"] for batch in batches])
    names = [name.decode() for name in by_name(read_pickle, path / "batches.meta")[b"label_names"]]
    return Part(images.transpose(0, 2, 3, 1), labels, names)


def read_pickle(path: Path) -> dict[bytes, Any]:
    """Reads a pickled dict without running code."""
    with path.open("rb") as file:
        return ArrayUnpickler(file, encoding="bytes").load()


def numbers(labels: NDArray[Any]) -> list[str]:
    """The names of classes that have none."""
    return [str(label) for label in range(int(labels.max()) + 1 if labels.size else 0)]


def to_samples(part: Part) -> Samples:
    """Checks images and labels; channels come first."""
    images, labels = part.images, part.labels
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise ValueError(
            f"images must be uint8 [M, H, W] or [M, H, W, C], found {images.dtype} "
            f"{list(images.shape)}"
        )
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or not labels.size:
        raise ValueError(f"{len(images)} images need as many labels, found {list(labels.shape)}")
    if labels.min() < 0 or labels.max() >= len(part.class_names):
        raise ValueError(f"labels must lie in [0, {len(part.class_names)})")
    images = images[..., None] if images.ndim == 3 else images
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    return Samples(x, torch.from_numpy(labels.astype(np.int64)), list(part.class_names))


def generate_bars(per_class: int, seed: int, size: int = 16) -> Part:
    """Noisy bars in four directions, discs and rings, of random place, size and brightness."""
    random = np.random.default_rng(seed)
    labels = np.arange(len(GENERATED_CLASSES)).repeat(per_class)

    def uniform(low: float, high: float) -> NDArray[Any]:
        return random.uniform(low, high, (labels.size, 1, 1))

    position = np.arange(size) - (size - 1) / 2
    down, right = position[:, None] - uniform(-3, 3), position - uniform(-3, 3)  # [M, size, size]
    angle = labels[:, None, None] * np.pi / 4 + uniform(-0.15, 0.15)
    along = np.abs(np.cos(angle) * right + np.sin(angle) * down) - uniform(4, 6)
    across = np.abs(np.cos(angle) * down - np.sin(angle) * right) - uniform(0.8, 1.5)
    edge = np.hypot(down, right) - uniform(3, 5)
    shapes = [np.maximum(along, across)] * 4 + [edge, np.abs(edge) - uniform(0.8, 1.2)]
    distance = np.choose(labels[:, None, None], shapes)  # from the outline, negative inside
    shade = uniform(120, 255) * np.clip(0.5 - distance, 0, 1)
    noisy = shade + random.normal(0, 12, shade.shape)
    return Part(noisy.clip(0, 255).astype(np.uint8), labels, GENERATED_CLASSES)
