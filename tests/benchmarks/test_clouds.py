import argparse

import numpy as np
import pytest
import torch
from _cli import UsageError
from _clouds import check_cloud_arguments, data_name, load_clouds

from tests.data_fixture import write_modelnet_fixture

CONFIG = {"num_points": 32, "pool_points": None, "per_class": 4, "data_seed": 0}


@pytest.mark.parametrize("prefix", ["", "modelnet:"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_hdf5_files_as_one_tensor(tmp_path, prefix, dtype):
    write_modelnet_fixture(tmp_path, num_points=64, dtype=dtype)
    samples = load_clouds(CONFIG, f"{prefix}{tmp_path}", train=True)
    assert samples.x.shape == (12, 64, 3)  # all points are kept for subsampling
    assert samples.x.dtype == torch.float32
    assert samples.y.dtype == torch.int64
    assert samples.y.bincount().tolist() == [3, 3, 3, 3]
    assert samples.class_names == [f"class_{k}" for k in range(4)]
    assert len(load_clouds(CONFIG, f"{prefix}{tmp_path}", train=False)) == 8
    pooled = load_clouds(CONFIG | {"pool_points": 40}, f"{prefix}{tmp_path}", train=True)
    assert torch.equal(pooled.x, samples.x[:, :40])


def test_primitives_are_balanced_reproducible_and_split():
    train, again = (load_clouds(CONFIG, "primitives", train=True) for _ in range(2))
    test = load_clouds(CONFIG, "primitives", train=False)
    assert train.x.shape[1:] == (64, 3)  # twice the points a network sees
    assert torch.equal(train.x, again.x)
    assert set(train.y.bincount().tolist()) == {4}
    assert set(test.y.bincount().tolist()) == {1}
    assert not any(torch.equal(a, b) for a in test.x for b in train.x)
    other = load_clouds(CONFIG | {"data_seed": 1}, "primitives", train=True)
    assert not torch.equal(train.x, other.x)


def write_cube(path, side):
    """A box as an OFF mesh."""
    corners = [(x, y, z * side) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    quads = ["0 1 3 2", "4 5 7 6", "0 1 5 4", "2 3 7 6", "0 2 6 4", "1 3 7 5"]
    faces = []
    for quad in quads:
        a, b, c, d = quad.split()
        faces += [f"3 {a} {b} {c}", f"3 {a} {c} {d}"]
    lines = ["OFF", f"8 {len(faces)} 0", *(" ".join(map(str, p)) for p in corners), *faces]
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_meshes_of_pyg(tmp_path, capfd):
    names = "bathtub bed chair desk dresser monitor night_stand sofa table toilet".split()
    for number, name in enumerate(names):
        for split in ("train", "test"):
            write_cube(tmp_path / "raw" / name / split / f"{name}_1.off", 1 + number)
    samples = load_clouds(CONFIG, f"meshes10:{tmp_path}", train=True)
    torch.manual_seed(7)
    again = load_clouds(CONFIG, f"meshes10:{tmp_path}", train=True)
    assert samples.x.shape == (10, 64, 3)
    assert samples.class_names == names
    assert samples.y.tolist() == list(range(10))
    assert torch.equal(samples.x, again.x)  # --data-seed samples the surfaces
    torch.testing.assert_close(samples.x.norm(dim=-1).amax(1), torch.ones(10))
    torch.testing.assert_close(samples.x.mean(1), torch.zeros(10, 3))
    assert samples.x[9, :, 2].std() > 3 * samples.x[9, :, 0].std()  # the longest box


def test_errors_name_the_flag_and_its_value(tmp_path):
    with pytest.raises(UsageError, match=r"--data: no such folder.*\(got /nowhere\)"):
        load_clouds(CONFIG, "/nowhere", train=True)
    (tmp_path / "stray.txt").write_text("not a data set")
    with pytest.raises(UsageError, match=r"--data: "):
        load_clouds(CONFIG, str(tmp_path), train=True)
    root = str(write_modelnet_fixture(tmp_path / "data", num_points=64))
    with pytest.raises(UsageError, match=r"--num-points: .* have 64 points \(got 65\)"):
        load_clouds(CONFIG | {"num_points": 65}, root, train=True)
    with pytest.raises(UsageError, match=r"--pool-points: .* have 64 points \(got 99\)"):
        load_clouds(CONFIG | {"pool_points": 99}, root, train=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"k": 32}, r"--k must be smaller than --num-points 32 \(got 32\)"),
        ({"scale_low": 2.0}, r"--scale-low must not exceed --scale-high 1.5 \(got 2\)"),
        ({"first_points": 33}, r"--first-points must not exceed --num-points 32 \(got 33\)"),
        ({"fewest_points": 33}, r"--fewest-points must not exceed --num-points 32 \(got 33\)"),
        ({"pool_points": 31}, r"--pool-points must be at least --num-points 32 \(got 31\)"),
    ],
)
def test_flags_that_contradict_each_other(wrong, message):
    right = {"k": 8, "num_points": 32, "scale_low": 0.5, "scale_high": 1.5}
    right |= {"pool_points": None, "first_points": None, "fewest_points": None}
    check_cloud_arguments(argparse.Namespace(**right))
    with pytest.raises(UsageError, match=message):
        check_cloud_arguments(argparse.Namespace(**right | wrong))


def test_results_never_hold_a_path():
    assert data_name("/some/where/modelnet40") == "modelnet40"
    assert data_name("modelnet:/some/where/modelnet40/") == "modelnet40"
    assert data_name("meshes10:/some/where/meshes") == "meshes10:meshes"
    assert data_name("primitives") == "primitives"
