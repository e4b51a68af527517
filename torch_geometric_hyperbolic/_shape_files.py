"""Points and triangles of mesh and point-cloud files: what :mod:`classify` reads."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from torch_geometric_hyperbolic._mesh_files import read_mesh

POINTS = (".npy", ".xyz")
MESHES = (".obj", ".off", ".ply")


def _read_npy(file: BinaryIO) -> NDArray[np.float64]:
    """The first three columns of an array of numbers, ``[P, 3]``."""
    array = np.lib.format.read_array(file, allow_pickle=False)
    shape = list(array.shape)
    if array.dtype.kind not in "fiu" or len(shape) != 2 or shape[1] < 3:
        raise ValueError(f"must hold numbers of shape [P, 3], got {array.dtype} of shape {shape}")
    return array[:, :3].astype(np.float64)


def _read_xyz(file: BinaryIO) -> NDArray[np.float64]:
    """The first three columns of a text, ``[P, 3]``, divided by commas or blanks; a comment begins
    with ``#``.
    """
    rows = []
    for number, line in enumerate(file.read().decode("utf-8-sig").splitlines(), start=1):
        text = line.partition("#")[0].strip()
        words = text.split(",") if "," in text else text.split()
        if 0 < len(words) < 3:
            raise ValueError(
                f"line {number} must have 3 columns, divided by commas or blanks, got {len(words)}"
            )
        if words:
            rows.append(words[:3])
    return np.array(rows, dtype=np.float64).reshape(len(rows), 3)


def read_shape(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Points and triangles of a file, by its suffix; whatever is wrong is one line."""
    try:
        with path.open("rb") as file:
            if not file.peek(1):
                raise ValueError("the file is empty")
            return _read(file, path.suffix.lower())
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error


def _read(file: BinaryIO, suffix: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    if suffix not in POINTS + MESHES:
        known = ", ".join(sorted(POINTS + MESHES))
        raise ValueError(f"the suffix must be one of {known} (got {suffix!r})")
    if suffix in MESHES:
        try:
            import trimesh  # noqa: F401
        except ImportError as error:
            raise ValueError(f"{suffix} needs trimesh: pip install trimesh") from error
    try:
        if suffix in MESHES:
            return read_mesh(file, suffix)
        read = _read_npy if suffix == ".npy" else _read_xyz
        return read(file), np.empty((0, 3), dtype=np.int64)
    except OSError:
        raise
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"cannot be read as {suffix[1:].upper()} ({error})") from error
