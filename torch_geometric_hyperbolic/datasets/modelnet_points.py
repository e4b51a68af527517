r"""Reader of ModelNet40 point clouds in the ``modelnet40_ply_hdf5_2048`` layout."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data

from torch_geometric_hyperbolic.checks import check_counts
from torch_geometric_hyperbolic.datasets._download import download_and_unpack
from torch_geometric_hyperbolic.datasets._point_clouds import PointClouds

_FOLDER = "modelnet40_ply_hdf5_2048"


class ModelNetPoints(PointClouds):
    r"""Point clouds of ModelNet40 from the `"3D ShapeNets: A Deep Representation for Volumetric
    Shapes" <https://arxiv.org/abs/1406.5670>`_ paper, as prepared for `"PointNet"
    <https://arxiv.org/abs/1612.00593>`_ (12,311 shapes of 40 categories, sampled on the surface,
    centred and scaled to the unit sphere).

    Reads straight from the HDF5 files and never writes into an existing :obj:`root`. Expected in
    :obj:`root`, or in its sub-folder :obj:`modelnet40_ply_hdf5_2048`:

    * :obj:`train_files.txt`, :obj:`test_files.txt`: the HDF5 files of each split, one per line;
      leading directories are ignored, as the files lie beside the list
    * :obj:`shape_names.txt`: the class names, line number = label
    * the HDF5 files with :obj:`data` (``[N, P, 3]``, float16 or float32, any :obj:`P`) and
      :obj:`label` (``[N]`` or ``[N, 1]``, any integer type)

    If :obj:`root` is missing or empty, the official archive (2,048 points per cloud, about 0.4 GB)
    is downloaded, checked against its MD5 digest and unpacked beside :obj:`root`, and only then
    renamed to :obj:`root`. Where several processes start together, let one of them do this first.

    .. note::
        No validation split is shipped: take one from the training set.

    Args:
        root (str or os.PathLike): The directory that holds, or shall hold, the files.
        train (bool, optional): If :obj:`True`, reads the training split (9,843 shapes; 9,840 in
            the official archive), otherwise the test split (2,468). (default: :obj:`True`)
        num_points (int, optional): Keep the first :obj:`num_points` points of each cloud (the
            points of a cloud are in no particular order). :obj:`None` keeps all.
            (default: :obj:`None`)
        transform (callable, optional): A transform applied to a
            :class:`~torch_geometric.data.Data` object at every access. (default: :obj:`None`)
        pre_transform (callable, optional): A transform applied once to every object after
            reading; its result is kept in memory only. (default: :obj:`None`)

    Raises:
        RuntimeError: If the download fails; nothing half-written is left behind.
        FileNotFoundError: If files are missing in a :obj:`root` that is not empty.
        ValueError: If :obj:`num_points` is out of range, or a file breaks the layout above.
        ImportError: If :obj:`h5py` is not installed.

    Shapes:
        - **pos**: points ``[P, 3]`` (float32), in units of the unit sphere
        - **y**: the label ``[1]`` (int64)

    Example:
        >>> from torch_geometric_hyperbolic.datasets import ModelNetPoints
        >>> dataset = ModelNetPoints("data/modelnet40", num_points=512)  # doctest: +SKIP
        >>> dataset[0]  # doctest: +SKIP
        Data(pos=[512, 3], y=[1])
        >>> dataset.class_names[:2]  # doctest: +SKIP
        ('airplane', 'bathtub')
    """

    url = f"https://shapenet.cs.stanford.edu/media/{_FOLDER}.zip"
    md5 = "c9ab8e6dfb16f67afdab25e155c79e59"

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        *,
        num_points: int | None = None,
        transform: Callable[[Data], Any] | None = None,
        pre_transform: Callable[[Data], Data] | None = None,
    ) -> None:
        if num_points is not None:
            check_counts(num_points=num_points)
        path = Path(root).expanduser()
        if path.exists() and not path.is_dir():
            raise ValueError(f"'root' must be a directory (got {str(path)!r})")
        super().__init__(str(path), transform, pre_transform)

        if not path.exists() or not any(path.iterdir()):
            self._download_archive(path)
        folder = _locate(path)
        self.class_names = _read_names(folder)
        pos, label = _read_split(_list_files(folder, train), num_points, self.num_classes)
        self._set_clouds(torch.from_numpy(pos), torch.from_numpy(label))

    def _download_archive(self, root: Path) -> None:
        try:
            download_and_unpack(self.url, self.md5, root)
        except Exception as error:
            raise RuntimeError(
                f"'root' is missing or empty (got {str(root)!r}) and downloading {self.url} failed "
                f"({error}); to place the files by hand, unpack that archive so that "
                f"{str(root / _FOLDER / 'train_files.txt')!r} exists"
            ) from error


def _locate(root: Path) -> Path:
    return root / _FOLDER if (root / _FOLDER).is_dir() else root


def _read_lines(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"'root' lacks {path.name!r} (got {str(path.parent)!r})")
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name!r} must be UTF-8 text (got {str(path)!r}: {error})") from None
    if not lines:
        raise ValueError(f"{path.name!r} must not be empty (got {str(path)!r})")
    return [line.strip() for line in lines]


def _read_names(folder: Path) -> tuple[str, ...]:
    names = _read_lines(folder / "shape_names.txt")
    if "" in names:
        raise ValueError(
            f"'shape_names.txt' must have a name on every line (got none on {names.index('') + 1})"
        )
    return tuple(names)


def _list_files(folder: Path, train: bool) -> list[Path]:
    index = "train_files.txt" if train else "test_files.txt"
    paths = [folder / Path(line).name for line in _read_lines(folder / index) if line]
    twice = [path.name for path in paths if paths.count(path) > 1]
    if twice:
        raise ValueError(f"{index!r} must name each file once (got two of {twice[0]!r})")
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        names = ", ".join(missing)
        raise FileNotFoundError(f"'root' lacks {names} of {index!r} (got {str(folder)!r})")
    return paths


def _read_split(
    paths: list[Path], num_points: int | None, num_classes: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    pos, label = zip(*(_read_file(path, num_points, num_classes) for path in paths), strict=True)
    sizes = sorted({array.shape[1] for array in pos})
    if len(sizes) > 1:
        raise ValueError(f"'data' must have one number of points in all files (got {sizes})")
    return np.concatenate(pos), np.concatenate(label)


def _read_file(
    path: Path, num_points: int | None, num_classes: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    try:
        import h5py
    except ImportError as error:
        raise ImportError("'ModelNetPoints' needs h5py (`pip install h5py`)") from error

    try:
        with h5py.File(path, "r") as file:
            shape = file["data"].shape
            pos = file["data"][:, :num_points] if len(shape) == 3 else None
            label = file["label"][:]
    except (OSError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"'root' holds an unreadable file {str(path)!r}: {error}") from error

    if pos is None or shape[2] != 3 or 0 in shape:
        raise ValueError(f"'data' of {path.name!r} must have shape [N, P, 3] (got {list(shape)})")
    if pos.dtype.kind != "f":
        raise ValueError(f"'data' of {path.name!r} must hold floats (got {pos.dtype})")
    if num_points is not None and num_points > shape[1]:
        raise ValueError(
            f"'num_points' must be at most {shape[1]}, the size of the clouds in {path.name!r} "
            f"(got {num_points})"
        )
    with np.errstate(over="ignore"):
        pos = pos.astype(np.float32)
    if not np.isfinite(pos).all():
        raise ValueError(f"'data' of {path.name!r} must be finite in float32 (got NaN or infinity)")
    if label.shape not in [(shape[0],), (shape[0], 1)] or label.dtype.kind not in "iu":
        raise ValueError(
            f"'label' of {path.name!r} must hold {shape[0]} integers "
            f"(got {label.dtype} of shape {list(label.shape)})"
        )
    wrong = label[(label < 0) | (label >= num_classes)]
    if wrong.size > 0:
        raise ValueError(
            f"'label' of {path.name!r} must be between 0 and {num_classes - 1} (got {wrong[0]})"
        )
    return pos, label.reshape(-1).astype(np.int64)
