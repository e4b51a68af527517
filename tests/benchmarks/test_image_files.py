import gzip
import pickle
import struct

import numpy as np
import pytest
import torch
from _cli import UsageError
from _images import GENERATED_CLASSES, data_name, generate_bars, load_images, numbers

CONFIG = {"per_class": 8}


def random_arrays(number, *shape, classes=10):
    random = np.random.default_rng(number)
    images = random.integers(0, 256, (number, *shape), dtype=np.uint8)
    return images, (np.arange(number) % classes).astype(np.uint8)


def write_npz(path, shape=(6, 5), **changes):
    arrays = {}
    for name, number in (("train", 20), ("test", 10)):
        arrays[f"x_{name}"], arrays[f"y_{name}"] = random_arrays(number, *shape)
    arrays |= changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return arrays


def write_idx(folder, compressed=False):
    arrays = {}
    for name, number in (("train", 20), ("t10k", 10)):
        arrays[name] = random_arrays(number, 28, 28)
        for kind, array in zip(("images-idx3", "labels-idx1"), arrays[name], strict=True):
            content = bytes([0, 0, 8, array.ndim])
            content += struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
            path = folder / f"{name}-{kind}-ubyte"
            if compressed:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content))
            else:
                path.write_bytes(content)
    return arrays


def write_batches(folder, protocol=2):
    arrays = {}
    for number, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        images, labels = random_arrays(10 + number, 3, 32, 32)
        arrays[name] = images, labels
        batch = {b"data": images.reshape(-1, 3072), b"labels": labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol))
    names = {b"label_names": [f"class {i}".encode() for i in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol))
    return arrays


@pytest.mark.parametrize("prefix", ["", "mnist:"])
def test_npz_of_grey_images(tmp_path, prefix):
    arrays = write_npz(tmp_path / "a.npz", shape=(28, 28))
    for train, name in ((True, "train"), (False, "test")):
        samples = load_images(CONFIG, f"{prefix}{tmp_path}/a.npz", train)
        assert samples.x.dtype == torch.uint8
        assert samples.x.shape[1:] == (1, 28, 28)
        assert np.array_equal(samples.x[:, 0], arrays[f"x_{name}"])
        assert samples.y.dtype == torch.int64
        assert samples.y.tolist() == arrays[f"y_{name}"].tolist()
        assert samples.class_names == [str(i) for i in range(10)]


def test_npz_of_coloured_images_with_names(tmp_path):
    names = np.array([f"n{i}" for i in range(10)])
    arrays = write_npz(tmp_path / "a.npz", shape=(6, 5, 3), class_names=names)
    samples = load_images(CONFIG, str(tmp_path / "a.npz"), train=True)
    assert samples.x.shape == (20, 3, 6, 5)
    assert np.array_equal(samples.x.permute(0, 2, 3, 1), arrays["x_train"])
    assert samples.class_names == names.tolist()
    write_npz(tmp_path / "a.npz", shape=(6, 5, 3), class_names=names.astype("S"))
    assert load_images(CONFIG, str(tmp_path / "a.npz"), train=True).class_names == names.tolist()


@pytest.mark.parametrize("compressed", [False, True])
def test_idx_files(tmp_path, compressed):
    arrays = write_idx(tmp_path, compressed)
    for train, name in ((True, "train"), (False, "t10k")):
        samples = load_images(CONFIG, f"mnist:{tmp_path}", train)
        assert np.array_equal(samples.x[:, 0], arrays[name][0])
        assert samples.y.tolist() == arrays[name][1].tolist()
        assert samples.class_names == [str(i) for i in range(10)]


@pytest.mark.parametrize("protocol", [2, 4])
def test_cifar_batches(tmp_path, protocol):
    arrays = write_batches(tmp_path, protocol)
    test = load_images(CONFIG, f"cifar10:{tmp_path}", train=False)
    images, labels = arrays.pop("test_batch")
    assert np.array_equal(test.x, images)
    assert test.y.tolist() == labels.tolist()
    assert test.class_names == [f"class {i}" for i in range(10)]
    train = load_images(CONFIG, str(tmp_path), train=True)
    assert np.array_equal(train.x, np.concatenate([batch[0] for batch in arrays.values()]))
    assert train.y.tolist() == [int(label) for _, y in arrays.values() for label in y]


def test_pickles_of_old_numpy(tmp_path):
    write_batches(tmp_path)
    path = tmp_path / "test_batch"
    before = load_images(CONFIG, str(tmp_path), train=False).x
    assert b"cnumpy._core.multiarray\n" in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multi", b"numpy.core.multi"))
    assert torch.equal(load_images(CONFIG, str(tmp_path), train=False).x, before)


class Calls:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles_run_nothing(tmp_path, protocol):
    write_batches(tmp_path)
    trace = tmp_path / "trace"
    for value in (Calls(open, str(trace), "w"), Calls(np.save, str(trace), 1), Calls(eval, "1")):
        (tmp_path / "test_batch").write_bytes(pickle.dumps({b"data": value}, protocol))
        with pytest.raises(UsageError, match=r"--data: test_batch: a pickle that .* is refused"):
            load_images(CONFIG, str(tmp_path), train=False)
    assert not list(tmp_path.glob("trace*"))


def float_images(folder):
    write_npz(folder / "a.npz", x_test=np.zeros((10, 6, 5)))


def missing_labels(folder):
    write_npz(folder / "a.npz", y_test=None)


def too_few_labels(folder):
    write_npz(folder / "a.npz", y_test=np.zeros(9, dtype=np.uint8))


def unknown_label(folder):
    write_npz(folder / "a.npz", y_test=np.full(10, 10, dtype=np.uint8))


def pickled_objects(folder):
    write_npz(folder / "a.npz", x_test=np.array([{}] * 10))


def other_size(folder):
    write_npz(folder / "a.npz", shape=(28, 27))


def names_in_a_table(folder):
    write_npz(folder / "a.npz", class_names=np.array([["a"], ["b"]]))


def half_an_archive(folder):
    write_npz(folder / "a.npz")
    content = (folder / "a.npz").read_bytes()
    (folder / "a.npz").write_bytes(content[: len(content) // 2])


def no_archive(folder):
    (folder / "a.npz").write_text("hello")


def half_an_idx_file(folder):
    write_idx(folder)
    path = folder / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-5])


def no_idx_file(folder):
    write_idx(folder)
    (folder / "t10k-labels-idx1-ubyte").write_text("hello, world")


def half_a_batch(folder):
    write_batches(folder)
    path = folder / "test_batch"
    path.write_bytes(path.read_bytes()[:-99])


def no_meta(folder):
    write_batches(folder)
    (folder / "batches.meta").unlink()


def other_pickle(folder):
    write_batches(folder)
    (folder / "test_batch").write_bytes(pickle.dumps([1, 2, 3]))


def other_folder(folder):
    (folder / "stray.txt").write_text("not a data set")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (float_images, r"images must be uint8 .* found float64 \[10, 6, 5\]"),
        (missing_labels, "y_test"),
        (too_few_labels, r"10 images need as many labels, found \[9\]"),
        (unknown_label, r"labels must lie in \[0, 10\)"),
        (pickled_objects, "allow_pickle"),
        (other_size, "not images of mnist, but 28 x 27 x 1"),
        (names_in_a_table, r"class_names must have one dimension, got shape \[2, 1\]"),
        (half_an_archive, ""),
        (no_archive, ""),
        (half_an_idx_file, "t10k-images-idx3-ubyte: cannot reshape"),
        (no_idx_file, "t10k-labels-idx1-ubyte: not an idx file of bytes"),
        (half_a_batch, "test_batch: "),
        (no_meta, "batches.meta"),
        (other_pickle, ""),
        (other_folder, "neither MNIST's idx files nor cifar-10-batches-py in this folder"),
        (lambda folder: None, "in this folder"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, damage, words):
    damage(tmp_path)
    path = tmp_path / "a.npz" if (tmp_path / "a.npz").exists() else tmp_path
    with pytest.raises(UsageError, match=rf"^--data: .*{words}.* \(got mnist:.*\)$"):
        load_images(CONFIG, f"mnist:{path}", train=False)


def test_no_such_path():
    with pytest.raises(UsageError, match=r"--data: no such file or folder.*\(got /nowhere\)"):
        load_images(CONFIG, "/nowhere", train=True)


def test_generated_images_are_balanced_reproducible_and_split():
    train, again = (load_images(CONFIG, "bars", train=True) for _ in range(2))
    test = load_images(CONFIG, "bars", train=False)
    assert train.x.shape == (8 * len(GENERATED_CLASSES), 1, 16, 16)
    assert torch.equal(train.x, again.x)
    assert set(train.y.bincount().tolist()) == {8}
    assert set(test.y.bincount().tolist()) == {2}
    assert not any(torch.equal(a, b) for a in test.x for b in train.x)


def test_generated_images_show_their_class():
    part = generate_bars(50, seed=0)
    bright = np.clip(part.images.astype(float) - 60, 0, None)
    weight = bright / bright.sum((1, 2), keepdims=True)
    axis = np.arange(16.0)
    right = axis - (weight.sum(1) @ axis)[:, None]  # [M, 16], from the middle of the figure
    down = axis - (weight.sum(2) @ axis)[:, None]
    xx, yy = (weight.sum(1) * right**2).sum(1), (weight.sum(2) * down**2).sum(1)
    xy = np.einsum("mij,mi,mj->m", weight, down, right)
    angle = np.rad2deg(np.arctan2(2 * xy, xx - yy) / 2) % 180  # clockwise, as rows go down
    slender = np.sqrt((xx - yy) ** 2 + 4 * xy**2) / (xx + yy)
    for label, expected in enumerate((0, 45, 90, 135)):
        off = (angle[part.labels == label] - expected + 90) % 180 - 90
        assert np.abs(off).max() < 15, GENERATED_CLASSES[label]
        assert slender[part.labels == label].min() > 0.6
    assert slender[part.labels >= 4].max() < 0.3
    middle = (weight * (np.hypot(down[:, :, None], right[:, None]) < 1.5)).sum((1, 2))
    assert middle[part.labels == 4].min() > middle[part.labels == 5].max()  # disc and ring


def test_results_never_hold_a_path():
    assert data_name("/some/where/mnist.npz") == "mnist"
    assert data_name("mnist:/some/where/mnist.npz") == "mnist"
    assert data_name("cifar10:/some/where/cifar-10-batches-py/") == "cifar-10-batches-py"
    assert data_name("bars") == "bars"


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_classes_without_names_are_counted(dtype):
    assert numbers(np.array([2, 0], dtype)) == ["0", "1", "2"]
    assert numbers(np.array([], dtype)) == []
