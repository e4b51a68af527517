import hashlib
import os
import shutil
import ssl
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch_geometric.loader import DataLoader

from tests.data_fixture import write_modelnet_fixture
from torch_geometric_hyperbolic.datasets import ModelNetPoints
from torch_geometric_hyperbolic.datasets._download import download_and_unpack

REAL = (
    Path(os.environ.get("TGH_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "modelnet40_ply_hdf5_1024"
)


@pytest.fixture(scope="module", params=["float16", "float32", "real"])
def root(request, tmp_path_factory):
    if request.param != "real":
        return write_modelnet_fixture(tmp_path_factory.mktemp("data"), dtype=request.param)
    if not REAL.is_dir():
        pytest.skip("the real data is not here: set TGH_DATA")
    return REAL


@pytest.fixture
def fixture_root(tmp_path):
    return write_modelnet_fixture(tmp_path / "data")


def rewrite(root, key, change, name="ply_data_train0.h5"):
    with h5py.File(root / name, "r+") as file:
        array = change(file[key][:])
        del file[key]
        file[key] = array


def entries(folder):
    return sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))


@pytest.mark.parametrize("train", [True, False])
def test_items_are_the_rows_of_the_files(root, train):
    before = entries(root)
    dataset = ModelNetPoints(root, train)

    pos, label = [], []
    split = "train" if train else "test"
    for line in (root / f"{split}_files.txt").read_text().split():
        with h5py.File(root / line.split("/")[-1]) as file:
            pos.append(torch.from_numpy(file["data"][:]).float())
            label.append(torch.from_numpy(file["label"][:].astype(np.int64)).view(-1))
    pos, label = torch.cat(pos), torch.cat(label)

    assert str(dataset) == f"ModelNetPoints({len(pos)})"
    assert torch.equal(dataset.y, label)
    for i in (0, 1, len(pos) // 2, len(pos) - 1):
        assert sorted(dataset[i].keys()) == ["pos", "y"]
        assert torch.equal(dataset[i].pos, pos[i])
        assert torch.equal(dataset[i].y, label[i : i + 1])
        assert dataset[i].pos.dtype == torch.float32
    assert entries(root) == before


def test_class_names_and_unit_sphere(root):
    dataset = ModelNetPoints(root, train=False, transform=lambda data: None)
    assert list(dataset.class_names) == (root / "shape_names.txt").read_text().split()
    assert dataset.num_classes == len(dataset.class_names)
    assert sorted(dataset.y.unique().tolist()) == list(range(dataset.num_classes))

    pos = ModelNetPoints(root, train=False).pos.view(len(dataset), -1, 3)
    radius = pos.norm(dim=-1).amax(dim=1)
    torch.testing.assert_close(radius, torch.ones(len(dataset)), atol=1e-3, rtol=0)
    torch.testing.assert_close(pos.mean(dim=1), torch.zeros(len(dataset), 3), atol=1e-3, rtol=0)


def test_num_points(root):
    full = ModelNetPoints(root, train=False)
    dataset = ModelNetPoints(root, train=False, num_points=10)
    assert len(dataset) == len(full)
    assert torch.equal(dataset[3].pos, full[3].pos[:10])

    available = full[0].num_nodes
    assert ModelNetPoints(root, train=False, num_points=available)[0].num_nodes == available
    with pytest.raises(ValueError, match=rf"'num_points' .* at most {available}.*{available + 1}"):
        ModelNetPoints(root, train=False, num_points=available + 1)
    with pytest.raises(ValueError, match=r"'num_points' must be at least 1 \(got 0\)"):
        ModelNetPoints(root, train=False, num_points=0)


def test_loader_and_subset(root):
    dataset = ModelNetPoints(root, train=False, num_points=16)[2:5]
    batch = next(iter(DataLoader(dataset, batch_size=3)))
    assert len(dataset) == 3
    assert dataset.num_classes == len(dataset.class_names)
    assert torch.equal(batch.pos, torch.cat([data.pos for data in dataset]))
    assert batch.batch.tolist() == 16 * [0] + 16 * [1] + 16 * [2]
    assert batch.y.shape == (3,)


def test_transforms(fixture_root):
    def double(data):
        data.pos = 2 * data.pos
        return data

    plain = ModelNetPoints(fixture_root)
    before = entries(fixture_root)
    for name in ("transform", "pre_transform"):
        dataset = ModelNetPoints(fixture_root, **{name: double})
        assert len(dataset) == len(plain)
        for _ in range(2):  # a second access must not transform again
            assert torch.equal(dataset[1].pos, 2 * plain[1].pos)
    both = ModelNetPoints(fixture_root, transform=double, pre_transform=double)
    assert torch.equal(both[1].pos, 4 * plain[1].pos)
    assert entries(fixture_root) == before


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
@pytest.mark.parametrize("flat", [True, False])
def test_layout_variants(fixture_root, tmp_path, dtype, flat):
    expected = ModelNetPoints(fixture_root)
    rewrite(fixture_root, "label", lambda y: y.reshape(-1 if flat else (-1, 1)).astype(dtype))
    (fixture_root / "train_files.txt").write_text("ply_data_train0.h5\n\nply_data_train1.h5")
    nested = tmp_path / "outer" / "modelnet40_ply_hdf5_2048"
    shutil.copytree(fixture_root, nested)
    for root in (fixture_root, str(nested.parent)):
        dataset = ModelNetPoints(root)
        assert torch.equal(dataset.pos, expected.pos)
        assert torch.equal(dataset.y, expected.y)
        assert dataset.y.dtype == torch.int64


@pytest.mark.parametrize(
    "name", ["train_files.txt", "shape_names.txt", "ply_data_train0.h5", "ply_data_train1.h5"]
)
def test_missing_file(fixture_root, name):
    (fixture_root / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"^'root' lacks '?{name}.*\(got '.*data'\)$"):
        ModelNetPoints(fixture_root)
    if "train" in name:
        assert len(ModelNetPoints(fixture_root, train=False)) == 8


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("label", lambda y: y + 4, r"'label' of 'ply_data_train0.h5' .* 0 and 3 \(got 4\)"),
        ("label", lambda y: -y.astype(np.int8), r"between 0 and 3 \(got -1\)"),
        ("label", lambda y: y.astype(np.float32), r"must hold 6 integers \(got float32 "),
        ("label", lambda y: y[:-1], r"must hold 6 integers \(got uint8 of shape \[5, 1\]\)"),
        ("label", lambda y: np.repeat(y, 2, axis=1), r"integers \(got uint8 of shape \[6, 2\]\)"),
        ("data", lambda x: x[..., :2], r"'data' of 'ply_data_train0.h5' .*\(got \[6, 64, 2\]\)"),
        ("data", lambda x: x[0], r"must have shape \[N, P, 3\] \(got \[64, 3\]\)"),
        ("data", lambda x: x[:, :32], r"one number of points in all files \(got \[32, 64\]\)"),
        ("data", lambda x: x[:0], r"must have shape \[N, P, 3\] \(got \[0, 64, 3\]\)"),
        ("data", lambda x: x[:, :0], r"must have shape \[N, P, 3\] \(got \[6, 0, 3\]\)"),
        ("data", lambda x: x + 1j, r"must hold floats \(got complex"),
        ("data", lambda x: np.float32(1), r"must have shape \[N, P, 3\] \(got \[\]\)"),
        ("label", lambda y: np.uint8(1), r"unreadable file '.*ply_data_train0.h5'"),
        ("data", lambda x: np.where(x == x.max(), np.nan, x), r"must be finite"),
        ("data", lambda x: np.where(x == x.max(), np.inf, x), r"must be finite"),
        ("data", lambda x: 1e300 * x.astype(np.float64), r"must be finite in float32"),
    ],
)
def test_broken_arrays(fixture_root, key, change, message):
    rewrite(fixture_root, key, change)
    with pytest.raises(ValueError, match=message) as info:
        ModelNetPoints(fixture_root)
    assert "\n" not in str(info.value)


def test_a_file_listed_twice_is_not_read_twice(fixture_root):
    (fixture_root / "train_files.txt").write_text("a/ply_data_train0.h5\nb/ply_data_train0.h5\n")
    with pytest.raises(ValueError, match=r"once \(got two of 'ply_data_train0.h5'\)"):
        ModelNetPoints(fixture_root)


def test_broken_files(fixture_root):
    path = fixture_root / "ply_data_train0.h5"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"unreadable file '.*ply_data_train0.h5'"):
        ModelNetPoints(fixture_root)

    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        del file["label"]
    with pytest.raises(ValueError, match=r"unreadable file '.*ply_data_train0.h5'.*label"):
        ModelNetPoints(fixture_root)

    (fixture_root / "train_files.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"'train_files.txt' must not be empty"):
        ModelNetPoints(fixture_root)
    with pytest.raises(ValueError, match=r"'root' must be a directory \(got '.*h5'\)"):
        ModelNetPoints(path)


@pytest.mark.parametrize("key", ["data", "label"])
def test_groups_in_the_place_of_arrays(fixture_root, key):
    with h5py.File(fixture_root / "ply_data_train0.h5", "r+") as file:
        del file[key]
        file[key + "/inner"] = np.zeros((6, 64, 3), np.float32)
    with pytest.raises(ValueError, match=r"unreadable file '.*ply_data_train0.h5'"):
        ModelNetPoints(fixture_root)


def test_a_class_without_a_name_is_no_shift_of_the_others(fixture_root):
    path = fixture_root / "shape_names.txt"
    names = path.read_text().splitlines()
    path.write_text("\n".join([*names, "", ""]))  # the end of a file
    assert list(ModelNetPoints(fixture_root).class_names) == names
    path.write_text("\n".join([names[0], "", *names[1:]]))
    with pytest.raises(ValueError, match=r"a name on every line \(got none on 2\)"):
        ModelNetPoints(fixture_root)


@pytest.mark.parametrize("name", ["shape_names.txt", "train_files.txt"])
def test_lists_in_another_encoding_are_named(fixture_root, name):
    (fixture_root / name).write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ValueError, match=rf"'{name}' must be UTF-8 text"):
        ModelNetPoints(fixture_root)


def test_without_h5py(fixture_root, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install h5py"):
        ModelNetPoints(fixture_root)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A small archive in place of the official one, reached as a file:// address."""
    folder = write_modelnet_fixture(tmp_path / "server" / "modelnet40_ply_hdf5_2048")
    path = Path(shutil.make_archive(str(folder), "zip", folder.parent, folder.name))
    shutil.rmtree(folder)
    monkeypatch.setattr(ModelNetPoints, "url", path.as_uri())
    monkeypatch.setattr(ModelNetPoints, "md5", hashlib.md5(path.read_bytes()).hexdigest())
    return path


@pytest.mark.parametrize("exists", [True, False])
def test_download(tmp_path, archive, monkeypatch, exists):
    root = tmp_path / "some" / "where"
    if exists:
        root.mkdir(parents=True)
    dataset = ModelNetPoints(root, num_points=32)
    assert len(dataset) == 12
    assert dataset[0].pos.shape == (32, 3)
    assert sorted(path.name for path in root.parent.iterdir()) == ["where"]
    assert [path.name for path in root.iterdir()] == ["modelnet40_ply_hdf5_2048"]

    archive.unlink()  # from now on the files are read from root
    assert len(ModelNetPoints(root, train=False)) == 8


def test_download_where_no_directory_is_replaced(tmp_path, archive, monkeypatch):
    """As on Windows, where not even an empty one is."""
    replace = Path.replace

    def only_what_is_not_there(self: Path, target: Path) -> Path:
        if Path(target).is_dir():
            raise PermissionError(f"[WinError 5] Access is denied: '{target}'")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", only_what_is_not_there)
    root = tmp_path / "empty"
    root.mkdir()
    assert len(ModelNetPoints(root, num_points=32)) == 12


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("failure", ["offline", "cut off", "wrong digest", "no zip", "interrupted"])
def test_failed_download_leaves_nothing(tmp_path, archive, monkeypatch, exists, failure):
    root = tmp_path / "some" / "where"
    if exists:
        root.mkdir(parents=True)
    before = entries(tmp_path)
    error = RuntimeError

    if failure == "wrong digest":
        monkeypatch.setattr(ModelNetPoints, "md5", "0" * 32)
    elif failure == "no zip":
        archive.write_bytes(b"<html>moved</html>")
        before = entries(tmp_path)
        monkeypatch.setattr(ModelNetPoints, "md5", hashlib.md5(archive.read_bytes()).hexdigest())
    else:
        urlopen = urllib.request.urlopen

        def broken_urlopen(*args, **kwargs):
            if failure == "offline":
                raise urllib.error.URLError("no network")
            response, first = urlopen(*args, **kwargs), [True]

            def read(size):
                if first and first.pop():
                    return b"half an archive"
                raise KeyboardInterrupt if failure == "interrupted" else TimeoutError("timed out")

            response.read = read
            return response

        monkeypatch.setattr(urllib.request, "urlopen", broken_urlopen)
        error = KeyboardInterrupt if failure == "interrupted" else RuntimeError

    with pytest.raises(error) as info:
        ModelNetPoints(root)
    paths = [path for path, _ in entries(tmp_path)]
    assert paths == [path for path, _ in before]
    if error is RuntimeError:
        message = str(info.value)
        assert ModelNetPoints.url in message
        assert str(root / "modelnet40_ply_hdf5_2048" / "train_files.txt") in message
        assert "\n" not in message


def test_no_download_into_a_used_directory(tmp_path, archive):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileNotFoundError, match=r"'root' lacks 'shape_names.txt'"):
        ModelNetPoints(tmp_path)


def test_how_an_archive_is_fetched(tmp_path, monkeypatch):
    given, places, original = {}, [], tempfile.TemporaryDirectory

    def folder(**how):
        places.append(how.get("dir"))
        return original(**how)

    def offline(url, **how):
        given.update(how)
        raise OSError("offline")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", folder)
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(OSError, match="offline"):
        download_and_unpack("https://x", "0", tmp_path / "some" / "where")
    assert places == [tmp_path]  # one file system, within which a folder can be renamed
    assert 0 < given["timeout"] <= 60
    assert given["context"].verify_mode == ssl.CERT_NONE  # its certificate has run out


def test_a_root_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_modelnet_fixture(tmp_path / "data")
    assert len(ModelNetPoints("~/data")) == 12
