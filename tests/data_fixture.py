"""A small made-up data set in the ``modelnet40_ply_hdf5_2048`` layout."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import DTypeLike


def write_modelnet_fixture(
    root: str | Path,
    num_train: int = 12,
    num_test: int = 8,
    num_points: int = 64,
    num_classes: int = 4,
    dtype: DTypeLike = np.float32,
) -> Path:
    """Writes noisy ellipsoids whose shape tells the class, centred and scaled to the unit sphere.

    As in the official archive, a split may have several files, classes are mixed, labels are
    ``[N, 1]`` uint8, and the lists give the files with a leading directory.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for split, num_clouds, num_files in (("train", num_train, 2), ("test", num_test, 1)):
        label = np.arange(num_clouds) % num_classes
        shape = 0.3 + 0.7 * np.stack([label / num_classes, label % 2, np.ones(num_clouds)], axis=1)
        pos = rng.standard_normal((num_clouds, num_points, 3))
        pos = pos / np.linalg.norm(pos, axis=-1, keepdims=True) * shape[:, None]
        pos = pos + 0.01 * rng.standard_normal(pos.shape)
        pos = pos - pos.mean(axis=1, keepdims=True)
        pos = pos / np.linalg.norm(pos, axis=-1).max(axis=1)[:, None, None]

        names = [f"ply_data_{split}{k}.h5" for k in range(num_files)]
        rows = np.array_split(np.arange(num_clouds), num_files)
        for name, row in zip(names, rows, strict=True):
            with h5py.File(root / name, "w") as file:
                file["data"] = pos[row].astype(dtype)
                file["label"] = label[row, None].astype(np.uint8)
        lines = "".join(f"data/modelnet40_ply_hdf5_2048/{name}\n" for name in names)
        (root / f"{split}_files.txt").write_text(lines)
    (root / "shape_names.txt").write_text("".join(f"class_{k}\n" for k in range(num_classes)))
    return root
