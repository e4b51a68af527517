"""The command ``tgh-classify``, with a small random network in place of the trained one."""

import io
import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from trimesh.exchange.ply import export_ply

from torch_geometric_hyperbolic import classify
from torch_geometric_hyperbolic._shape_files import read_shape
from torch_geometric_hyperbolic.manifolds import PoincareBall
from torch_geometric_hyperbolic.nn import HyperbolicDGCNN

CLASSES = ["airplane", "night_stand", "chair", "cup", "sofa"]
K, NUM_POINTS = 8, 64

TRIANGLE = "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"


@pytest.fixture(autouse=True)
def model(monkeypatch) -> HyperbolicDGCNN:
    """A network that tells clouds apart well enough to see that one has changed."""
    torch.manual_seed(3)
    network = HyperbolicDGCNN(
        out_channels=len(CLASSES),
        manifold=PoincareBall(c=1.0),
        hidden_channels=(8, 8),
        emb_channels=16,
        head_channels=16,
        k=K,
    )
    torch.nn.init.normal_(network.head[-1].weight)
    network.class_names, network.num_points, network.k = CLASSES, NUM_POINTS, K
    network.eval()

    def from_pretrained(name: str) -> HyperbolicDGCNN:
        if name not in (classify.NETWORK, classify.SPARSE):
            raise ValueError(f"'name' must be 'modelnet40-85k' (got {name!r})")
        return network

    monkeypatch.setattr(HyperbolicDGCNN, "from_pretrained", from_pretrained, raising=False)
    return network


@pytest.fixture
def run(capsys):
    """Runs the command and gives its status and what it wrote."""

    def call(*args) -> tuple[int, str, str]:
        try:
            status = classify.main([str(arg) for arg in args])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def probabilities(run):
    """The probability of each class, by name, of one file."""

    def call(*args) -> dict[str, float]:
        status, out, err = run("--json", "--top", 99, *args)
        assert (status, err) == (0, "")
        (result,) = json.loads(out)
        return {row["name"]: row["probability"] for row in result["classes"]}

    return call


def differ(a: dict[str, float], b: dict[str, float]) -> bool:
    return any(abs(a[name] - b[name]) > 1e-3 for name in CLASSES)


def points(count: int = 50) -> np.ndarray:
    """Points that six decimals hold exactly, of no symmetry."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 64, (count, 3)) / 64 * [4.0, 2.0, 1.0] + [5.0, 0.0, -3.0]


def mesh() -> trimesh.Trimesh:
    """A box with a spike."""
    box = trimesh.creation.box((2.0, 1.0, 0.5))
    vertices = box.vertices.copy()
    vertices[0] = [-2.0, -1.5, -1.0]
    return trimesh.Trimesh(vertices, box.faces, process=False)


def rows(values: np.ndarray, form: str) -> str:
    return "".join(form.format(*value) + "\n" for value in values.tolist())


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_npy(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


CLOUDS = {
    "f64.npy": lambda path: write_npy(path, points()),
    "f32.npy": lambda path: write_npy(path, points().astype(np.float32)),
    "f32_fortran.npy": lambda path: write_npy(path, np.asfortranarray(points(), np.float32)),
    "wide.npy": lambda path: write_npy(path, np.hstack([points(), np.full((50, 3), np.nan)])),
    "integers.npy": lambda path: write_npy(path, (64 * points()).astype(np.int64)),
    "binary.ply": lambda path: write(path, export_ply(trimesh.PointCloud(points()))),
    "ascii.ply": lambda path: write(
        path, export_ply(trimesh.PointCloud(points()), encoding="ascii")
    ),
    "points.obj": lambda path: write(path, rows(points(), "v {} {} {}")),
    "points.off": lambda path: write(path, "OFF\n50 0 0\n" + rows(points(), "{} {} {}")),
    "UPPER.XYZ": lambda path: write(path, rows(points(), "{} {} {}")),
    "commas.xyz": lambda path: write(path, rows(points(), "{},{}, {}")),
    "columns.xyz": lambda path: write(path, rows(points(), "{}\t{}  {} 255 0 red")),
    "comments.xyz": lambda path: write(
        path, "\ufeff# x y z\r\n\r\n  # more\n" + rows(points(), " {} {} {}  # a point")
    ),
}


@pytest.mark.parametrize("name", CLOUDS)
def test_a_cloud_is_the_same_in_every_format(name, tmp_path, probabilities):
    reference = probabilities(write_npy(tmp_path / "reference.npy", points()))
    assert probabilities(CLOUDS[name](tmp_path / name)) == reference


def test_probabilities_are_those_of_the_definition(tmp_path, probabilities, model):
    x = points()
    x = x - x.mean(axis=0)
    x = x / max(np.sqrt((row**2).sum()) for row in x)
    with torch.no_grad():
        logits = model(torch.tensor(x, dtype=torch.float32))[0].double()
    expected = (logits.exp() / logits.exp().sum()).tolist()
    got = probabilities(write_npy(tmp_path / "a.npy", points()))
    assert [got[name] for name in CLASSES] == pytest.approx(expected, abs=1e-6)


MESHES = {
    "mesh.off": lambda path: mesh().export(path),
    "mesh.obj": lambda path: mesh().export(path),
    "binary.ply": lambda path: write(path, export_ply(mesh())),
    "ascii.ply": lambda path: write(path, export_ply(mesh(), encoding="ascii")),
    "glued.off": lambda path: write(path, mesh().export(file_type="off").replace("OFF\n", "OFF")),
}


@pytest.mark.parametrize("name", MESHES)
def test_a_mesh_is_the_same_in_every_format(name, tmp_path, probabilities):
    mesh().export(tmp_path / "reference.off")
    MESHES[name](tmp_path / name)
    assert probabilities(tmp_path / name) == probabilities(tmp_path / "reference.off")


#: A pentagon, a triangle and a square of areas 5, 1 and 4, apart from each other.
POLYGONS = [(0, 1, 2, 3, 4), (5, 6, 7), (8, 9, 10, 11)]
POLYGON_CORNERS = rows(
    np.array(
        [[0, 0], [2, 0], [2, 2], [1, 3], [0, 2], [5, 0], [7, 0], [5, 1]]
        + [[9, 0], [11, 0], [11, 2], [9, 2]]
    ),
    "{} {} 0",
)
POLYGON_PLY = (
    "ply\ncomment of the end_header\nformat ascii 1.0\nobj_info none\nelement vertex 12\n"
    "property float x\nproperty float y\nproperty float z\nelement face 3\n"
    "property list uchar int vertex_indices\nend_header\n"
)
POLYGON_FILES = {
    "a.off": "OFF 12 3 0\n" + POLYGON_CORNERS + "5 0 1 2 3 4\n3 5 6 7 255 0 0\n4 8 9 10 11\n",
    "b.off": "off\n12 3\n\n"
    + POLYGON_CORNERS.replace("\n", " 0.5 1 # red\r\n")
    + "5 0 1 2 3 4\r\n3 5 6 7\r\n4 8 9 10 11\r\n",
    "a.ply": POLYGON_PLY + POLYGON_CORNERS + "5 0 1 2 3 4\n3 5 6 7\n4 8 9 10 11\n",
    "b.ply": POLYGON_PLY.replace("face 3", "face 4").replace("\n", "\r\n")
    + "\n"
    + POLYGON_CORNERS
    + "5 0 1 2 3 4\n\n3 5 6 7\n2 0 1\n4 8 9 10 11\n\n",
    "c.off": "NCOFF12 3 0\n" + POLYGON_CORNERS + "5 0 1 2 3 4\n3 5 6 7\n4 8 9 10 11\n",
    "a.obj": "".join(f"v {line}\n" for line in POLYGON_CORNERS.splitlines())
    + "".join("f " + " ".join(str(i + 1) for i in face) + "\n" for face in POLYGONS),
}


def areas(path: Path) -> list[float]:
    """Of the surface, right of x = 4, and right of x = 8."""
    vertices, faces = read_shape(path)
    corners = vertices[faces]
    each = (
        np.linalg.norm(
            np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
        )
        / 2
    )
    return [each[corners[:, :, 0].min(axis=1) > x].sum() for x in (-1, 4, 8)]


@pytest.mark.parametrize("name", POLYGON_FILES)
def test_polygons_become_triangles(name, tmp_path):
    assert areas(write(tmp_path / name, POLYGON_FILES[name])) == pytest.approx([10, 5, 4])


@pytest.mark.parametrize("order", ["<", ">", ""])
@pytest.mark.parametrize("first", [True, False])
def test_colours_of_faces_do_not_matter(order, first, tmp_path):
    """Before or behind the corners of a square, binary of both kinds and as text."""
    colours, corners = (
        [f"property uchar {name}\n" for name in ("red", "green", "blue")],
        ["property list uchar int vertex_index\n"],
    )
    form = {"<": "binary_little_endian", ">": "binary_big_endian", "": "ascii"}[order]
    header = f"ply\nformat {form} 1.0\nelement vertex 4\n" + "".join(
        f"property double {axis}\n" for axis in "xyz"
    )
    header += "element face 2\n" + "".join(colours + corners if first else corners + colours)
    vertices = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]], float)
    colour, face = [7, 8, 9], [4, 0, 1, 2, 3]
    values = colour + face if first else face + colour
    if order:
        types = ["u1"] * 3 + ["u1"] + [f"{order}i4"] * 4
        types = types if first else types[3:] + types[:3]
        row = b"".join(np.array(v, t).tobytes() for v, t in zip(values, types, strict=True))
        body = vertices.astype(f"{order}f8").tobytes() + 2 * row
    else:
        body = (rows(vertices, "{} {} {}") + 2 * (" ".join(map(str, values)) + "\n")).encode()
    file = write(tmp_path / "a.ply", header.encode() + b"end_header\n" + body)
    assert areas(file)[0] == pytest.approx(8)


def cloud(path: Path, count: int = NUM_POINTS, seed: int = 0) -> np.ndarray:
    return classify.load_cloud(path, count, least=K, seed=seed, up="z").double().numpy()


CORNERS = np.array([[0, 0, 0], [3, 0, 0], [0, 3, 0], [9, 0, 0], [10, 0, 0], [9, 1, 0]])
TWO_TRIANGLES = {
    "one.off": "OFF\n6 2 0\n" + rows(CORNERS, "{} {} {}") + "3 0 1 2\n3 3 4 5\n",
    "relative.obj": rows(CORNERS[:3], "v {} {} {}")
    + "f -3 -2 -1 # the last three\n"
    + rows(CORNERS[3:], "v {} {} {}")
    + "vn 0 0 1\nf -3//-1 -2//-1 6//1\n",
    "objects.obj": "mtllib missing.mtl\n"
    + rows(CORNERS, "v {} {} {}")
    + "o a\nusemtl red\nf 1 2 3\no b\nusemtl blue\nf 4 5 6\n",
}


@pytest.mark.parametrize("name", TWO_TRIANGLES)
def test_surfaces_are_sampled_uniformly_by_area(name, tmp_path):
    """Two right triangles, apart in x, one of nine times the other's area; one object or two."""
    count = 20_000
    x = cloud(write(tmp_path / name, TWO_TRIANGLES[name]), count)
    assert x.shape == (count, 3)
    # Back to the file's coordinates: some of the points lie close to the corners.
    low, high = x.min(axis=0), x.max(axis=0)
    x = (x - low) / (high[0] - low[0]) * 10
    inside = x[x[:, 0] < 4]
    assert len(inside) / count == pytest.approx(0.9, abs=4 * np.sqrt(0.9 * 0.1 / count))
    # The middle one of the four equal parts of the large one, and its distribution of x.
    u, v = inside[:, 0] / 3, inside[:, 1] / 3
    middle = (u < 0.5) & (v < 0.5) & (u + v > 0.5)
    bound = 4 * np.sqrt(0.25 * 0.75 / len(inside)) + 0.005
    assert middle.mean() == pytest.approx(0.25, abs=bound)
    for quantile in (0.25, 0.5, 0.75):
        assert np.quantile(u, quantile) == pytest.approx(1 - np.sqrt(1 - quantile), abs=0.02)


def test_broken_textures_do_not_matter(tmp_path, probabilities):
    mesh().export(tmp_path / "reference.off")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    content = export_ply(mesh()).replace(
        b"comment ", b"comment TextureFile broken.png\ncomment ", 1
    )
    file = write(tmp_path / "textured.ply", content)
    assert b"TextureFile" in content
    assert probabilities(file) == probabilities(tmp_path / "reference.off")


def test_drawn_points_depend_on_the_seed_only(tmp_path):
    mesh().export(tmp_path / "mesh.off")
    many = write_npy(tmp_path / "many.npy", points(200))
    for file in (tmp_path / "mesh.off", many):
        np.random.default_rng(7).random()
        assert (cloud(file) == cloud(file)).all()
        assert not (cloud(file) == cloud(file, seed=1)).all()


def test_large_clouds_are_subsampled_without_repetition(tmp_path):
    file = write_npy(tmp_path / "many.npy", np.unique(points(200), axis=0))
    drawn, stored = cloud(file), cloud(file, 200)
    assert len(drawn) == NUM_POINTS == len(np.unique(drawn, axis=0))
    assert {tuple(row) for row in drawn} <= {tuple(row) for row in stored}
    ends = [(cloud(file, seed=seed)[:, None] == stored).all(-1).any(0) for seed in range(40)]
    assert np.mean(ends, axis=0).min() > 0  # every point is drawn now and then


def test_small_clouds_are_used_whole(tmp_path, run):
    file = write_npy(tmp_path / "small.npy", points(K))
    assert cloud(file).shape == (K, 3)
    assert run(file)[0] == 0
    status, _, err = run(write_npy(tmp_path / "small.npy", points(K - 1)))
    assert status == 2
    assert err == (
        f"tgh-classify: error: {file}: the network needs at least {K} points (got {K - 1})\n"
    )


@pytest.mark.parametrize("name", ["points.obj", "f64.npy"])
def test_clouds_are_centred_in_the_unit_sphere(name, tmp_path):
    CLOUDS[name](tmp_path / name)
    x = cloud(tmp_path / name)
    assert np.abs(x.mean(axis=0)).max() < 1e-6
    assert np.linalg.norm(x, axis=1).max() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("scale,shift", [(1e-3, 0), (250, 1000), (1e200, 0), (1e-200, 0)])
def test_scale_and_place_do_not_matter(scale, shift, tmp_path, probabilities):
    moved = scale * points() + shift
    reference = probabilities(write_npy(tmp_path / "reference.npy", points()))
    assert probabilities(write_npy(tmp_path / "moved.npy", moved)) == pytest.approx(
        reference, abs=1e-4
    )
    solid = mesh()
    solid.export(tmp_path / "mesh.obj", digits=17)
    text = rows(scale * solid.vertices + shift, "v {} {} {}") + rows(solid.faces + 1, "f {} {} {}")
    moved = probabilities(write(tmp_path / "moved.obj", text))
    assert moved == pytest.approx(probabilities(tmp_path / "mesh.obj"), abs=1e-4)


UP = {"x": [1, 0, 0], "y": [0, 1, 0], "z": [0, 0, 1]}


@pytest.mark.parametrize("axis", UP)
def test_up_is_a_proper_rotation_of_the_axis_to_z(axis, tmp_path, probabilities):
    file = write_npy(tmp_path / "a.npy", points())
    before = classify.load_cloud(file, NUM_POINTS, K, 0, "z").double().numpy()
    after = classify.load_cloud(file, NUM_POINTS, K, 0, axis).double().numpy()
    rotation = np.linalg.lstsq(before, after, rcond=None)[0].T
    assert np.allclose(rotation @ before.T, after.T, atol=1e-6)
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert np.allclose(rotation @ UP[axis], UP["z"], atol=1e-6)

    turned = write_npy(tmp_path / "turned.npy", points() @ rotation.T)
    assert probabilities("--up", axis, file) == pytest.approx(probabilities(turned), abs=1e-4)
    assert differ(probabilities("--up", axis, file), probabilities(file)) == (axis != "z")


def test_y_up_is_turned_about_x(tmp_path):
    """What looks towards +z in files with y up looks towards -y, as ModelNet40's chairs do."""
    file = write_npy(tmp_path / "a.npy", points())
    z, y = (classify.load_cloud(file, NUM_POINTS, K, 0, up) for up in "zy")
    assert torch.equal(y, torch.stack([z[:, 0], -z[:, 2], z[:, 1]], dim=1))


def test_text_is_aligned_and_sorted(tmp_path, run):
    files = [write_npy(tmp_path / f"{count}.npy", points(count)) for count in (40, 50)]
    status, out, err = run(*files)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert [lines[0], lines[4]] == [str(file) for file in files]
    assert len(lines) == 8
    for block in (lines[1:4], lines[5:8]):
        found = [re.fullmatch(r"  (\w+) +(\d+\.\d) %", line) for line in block]
        values = [float(match[2]) for match in found]
        assert {match[1] for match in found} <= set(CLASSES)
        assert values == sorted(values, reverse=True)
        assert {len(line) for line in block} == {2 + len("night_stand") + 2 + len(" 12.3 %")}


def test_json_holds_what_the_text_says(tmp_path, run):
    file = write_npy(tmp_path / "a.npy", points())
    status, out, err = run("--json", "--top", 5, file)
    assert (status, err) == (0, "")
    (result,) = json.loads(out)
    assert result.keys() == {"file", "classes"} and result["file"] == str(file)
    assert all(row.keys() == {"name", "probability"} for row in result["classes"])
    values = [row["probability"] for row in result["classes"]]
    assert sorted(row["name"] for row in result["classes"]) == sorted(CLASSES)
    assert sum(values) == pytest.approx(1, abs=1e-9)
    assert values == sorted(values, reverse=True)
    text = run("--top", 5, file)[1].splitlines()[1:]
    assert [line.split()[:2] for line in text] == [
        [row["name"], f"{100 * row['probability']:.1f}"] for row in result["classes"]
    ]


@pytest.mark.parametrize("top,shown", [(1, 1), (4, 4), (99, 5)])
def test_top_is_the_number_of_classes_shown(top, shown, tmp_path, run):
    file = write_npy(tmp_path / "a.npy", points())
    assert len(run("--top", top, file)[1].splitlines()) == 1 + shown


def test_num_points_and_seed_reach_the_network(tmp_path, probabilities):
    file = write_npy(tmp_path / "a.npy", points(200))
    reference = probabilities(file)
    assert probabilities("--num-points", NUM_POINTS, "--seed", 0, file) == reference
    assert probabilities("--num-points", 20, file) != reference
    assert probabilities("--seed", 1, file) != reference


def test_files_do_not_depend_on_each_other(tmp_path, run, probabilities):
    mesh().export(tmp_path / "mesh.off")
    files = [tmp_path / "mesh.off", write_npy(tmp_path / "a.npy", points(200))]
    together = json.loads(run("--json", "--top", 99, *files)[1])
    for file, result in zip(files, together, strict=True):
        alone = probabilities(file)
        assert {row["name"]: row["probability"] for row in result["classes"]} == alone


def ply() -> bytes:
    return export_ply(mesh())


def npy(tmp: Path, array: np.ndarray) -> bytes:
    return write_npy(tmp / "whole.npy", array).read_bytes()


def mixed_ply(tmp: Path) -> bytes:
    """A square, a triangle and a pentagon take as many bytes as three squares."""
    header = POLYGON_PLY.replace("ascii", "binary_little_endian").replace("list uchar", "list uint")
    corners = np.loadtxt(POLYGON_CORNERS.splitlines()).astype("<f4").tobytes()
    faces = [(4, *range(8, 12)), (3, *range(5, 8)), (5, *range(5))]
    return header.encode() + corners + np.concatenate(faces).astype("<i4").tobytes()


CONTENTS = {
    "empty.off": lambda tmp: b"",
    "empty.ply": lambda tmp: b"",
    "empty.obj": lambda tmp: b"",
    "empty.xyz": lambda tmp: b"",
    "empty.npy": lambda tmp: b"",
    "comments.xyz": lambda tmp: b"# nothing\n",
    "noise.off": lambda tmp: bytes(range(256)) * 10,
    "noise.ply": lambda tmp: bytes(range(256)) * 10,
    "noise.obj": lambda tmp: bytes(range(256)) * 10,
    "noise.xyz": lambda tmp: bytes(range(256)) * 10,
    "noise.npy": lambda tmp: bytes(range(256)) * 10,
    "short.ply": lambda tmp: ply()[:-20],
    "header.ply": lambda tmp: ply()[:60],
    "short.npy": lambda tmp: npy(tmp, points())[:-20],
    "short.off": lambda tmp: b"OFF\n9 1 0\n0 0 0\n1 0 0\n0",
    "index.off": lambda tmp: TRIANGLE.replace("3 0 1 2", "3 0 1 7").encode(),
    "index.obj": lambda tmp: b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n",
    "index.ply": lambda tmp: export_ply(mesh(), encoding="ascii").replace(b"\n3 ", b"\n3 99"),
    "words.xyz": lambda tmp: b"x y z\n" + rows(points(), "{} {} {}").encode(),
    "two_columns.xyz": lambda tmp: rows(points(48), "{} {}").encode(),
    "gap.xyz": lambda tmp: rows(points(), "{},,{},{}").encode(),
    "ragged.xyz": lambda tmp: rows(points(), "{} {} {}").encode() + b"1 2\n",
    "decimals.xyz": lambda tmp: b"-0,5 0,25 1,5\n" * 50,
    "nan.xyz": lambda tmp: rows(points(), "{} {} {}").encode() + b"1 nan 2\n",
    "inf.npy": lambda tmp: npy(tmp, np.vstack([points(), [[0, np.inf, 0]]])),
    "nan.off": lambda tmp: TRIANGLE.replace("0 1 0", "0 nan 0").encode(),
    "equal.npy": lambda tmp: npy(tmp, np.full((50, 3), 0.1)),
    "zeros.npy": lambda tmp: npy(tmp, np.zeros((50, 3))),
    "flat.npy": lambda tmp: npy(tmp, points()[:, 0]),
    "narrow.npy": lambda tmp: npy(tmp, points()[:, :2]),
    "deep.npy": lambda tmp: npy(tmp, points()[None]),
    "words.npy": lambda tmp: npy(tmp, np.full((50, 3), "a")),
    "complex.npy": lambda tmp: npy(tmp, points() + 1j),
    "pickle.npy": lambda tmp: npy(tmp, points().astype(object)),
    "line.off": lambda tmp: TRIANGLE.replace("0 1 0", "2 0 0").encode(),
    "dot.off": lambda tmp: TRIANGLE.replace("1", "0").replace("3 0 0", "3 1 0", 1).encode(),
    "vertices.off": lambda tmp: b"OFF\n90 5 0\n" + rows(points(), "{} {} {}").encode(),
    "no_faces.off": lambda tmp: b"OFF\n50 5 0\n" + rows(points(), "{} {} {}").encode(),
    "one_more.off": lambda tmp: TRIANGLE.replace("3 1 0", "4 1 0").encode(),
    "cut.off": lambda tmp: TRIANGLE.replace("3 0 1 2", "3 0 1").encode(),
    "weights.off": lambda tmp: b"4" + TRIANGLE.encode(),
    "no_counts.off": lambda tmp: b"OFF\n",
    "vertices.ply": lambda tmp: export_ply(trimesh.PointCloud(points()), encoding="ascii").replace(
        b"vertex 50", b"vertex 90"
    ),
    "faces.ply": lambda tmp: b"".join(
        export_ply(mesh(), encoding="ascii").splitlines(keepends=True)[:-3]
    ),
    "quads.ply": lambda tmp: (
        (POLYGON_PLY.replace("face 3", "face 4") + POLYGON_CORNERS).encode()
        + b"4 8 9 10 11\n4 8 9 10 11\n4 8 9 10 11\n"
    ),
    "mixed.ply": mixed_ply,
    "axes.ply": lambda tmp: ply().replace(b"float x", b"float X"),
    "names.ply": lambda tmp: ply().replace(b"vertex_indices", b"corners"),
    "negative.off": lambda tmp: TRIANGLE.replace("3 1 0", "3 -1 0").encode(),
    "backwards.off": lambda tmp: TRIANGLE.replace("3 0 1 2", "-3 0 1 2").encode(),
    "strips.ply": lambda tmp: ply().replace(b"element face", b"element tristrips 1\nelement face"),
    "no_end.ply": lambda tmp: b"ply\nformat ascii 1.0\nelement vertex 3\n",
    "shape.stl": lambda tmp: b"solid\n",
    "no_suffix": lambda tmp: b"1 2 3\n",
}

#: What the line must say, where the reason is ours to tell.
REASONS = {
    **dict.fromkeys((f"empty.{kind}" for kind in ("off", "ply", "obj", "xyz", "npy")), "is empty"),
    "comments.xyz": f"at least {K} points (got 0)",
    "short.ply": "cannot be read as PLY",
    "noise.npy": "cannot be read as NPY",
    "words.xyz": "cannot be read as XYZ (could not convert string to float: 'x'",
    "two_columns.xyz": "cannot be read as XYZ (line 1 must have 3 columns, divided by "
    "commas or blanks, got 2)",
    "ragged.xyz": "3 columns, divided by commas or blanks, got 2)",
    "decimals.xyz": "could not convert string to float: '5 0'",
    "index.ply": "faces must name vertices in [0, 8)",
    "nan.xyz": "must be finite",
    "inf.npy": "must be finite",
    "nan.off": "must be finite",
    "equal.npy": "the points must differ (got 50 equal points)",
    "narrow.npy": "must hold numbers of shape [P, 3], got float64 of shape [50, 2]",
    "complex.npy": "must hold numbers of shape [P, 3], got complex128",
    "pickle.npy": "allow_pickle=False",
    "vertices.off": "must hold 90 vertices, as it says, got 50",
    "no_faces.off": "must hold 5 faces, as it says, got 0",
    "one_more.off": "must hold 1 faces, as it says, got 0",
    "cut.off": "must hold 3 corners, as it says, got 2",
    "weights.off": "must begin with OFF, got '4OFF",
    "no_counts.off": "must tell how many vertices and faces it holds",
    "vertices.ply": "must hold 90 rows, as it says, got 50",
    "faces.ply": "must hold 20 rows, as it says, got 17",
    "quads.ply": "must hold 16 rows, as it says, got 15",
    "mixed.ply": "all faces must have the same number of corners",
    "axes.ply": "vertices must have the properties x, y and z",
    "names.ply": "faces must have the property vertex_indices",
    "negative.off": "must count vertices, faces and corners, got '-1'",
    "backwards.off": "must count vertices, faces and corners, got '-3'",
    "strips.ply": "strips of triangles are not supported",
    "no_end.ply": "the header has no end",
    "line.off": "the surface must have an area (got 1 triangles without)",
    "shape.stl": "must be one of .npy, .obj, .off, .ply, .xyz (got '.stl')",
}


@pytest.mark.parametrize("name", CONTENTS)
def test_what_cannot_be_read_is_one_line(name, tmp_path, run):
    """Nothing else is written, neither by warnings nor by the readers' logs."""
    file = write(tmp_path / name, CONTENTS[name](tmp_path))
    handler = logging.StreamHandler(sys.stderr)  # as without any configuration
    logging.getLogger("trimesh").addHandler(handler)
    status, out, err = run(file)
    logging.getLogger("trimesh").removeHandler(handler)
    assert (status, out) == (2, "")
    assert err.startswith(f"tgh-classify: error: {file}: ")
    assert err.count("\n") == 1 and err.endswith("\n")
    assert REASONS.get(name, "") in err


def test_missing_files_and_folders_are_one_line_each(tmp_path, run):
    (tmp_path / "folder.ply").mkdir()
    status, out, err = run(tmp_path / "no.off", tmp_path / "no.npy", tmp_path / "folder.ply")
    assert (status, out) == (2, "")
    assert err.splitlines() == [
        f"tgh-classify: error: {tmp_path / 'no.off'}: No such file or directory",
        f"tgh-classify: error: {tmp_path / 'no.npy'}: No such file or directory",
        f"tgh-classify: error: {tmp_path / 'folder.ply'}: Is a directory",
    ]


def test_good_files_are_classified_beside_bad_ones(tmp_path, run):
    good = write_npy(tmp_path / "good.npy", points())
    status, out, err = run("--json", tmp_path / "no.off", good, write(tmp_path / "bad.xyz", "a"))
    assert status == 2
    assert [result["file"] for result in json.loads(out)] == [str(good)]
    assert len(err.splitlines()) == 2


def test_without_trimesh_points_are_read_and_meshes_explained(tmp_path, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "trimesh", None)
    clouds = [CLOUDS[name](tmp_path / name) for name in ("f64.npy", "commas.xyz")]
    assert run(*clouds)[::2] == (0, "")
    file = write(tmp_path / "mesh.off", TRIANGLE)
    status, out, err = run(file)
    assert (status, out) == (2, "")
    assert err == (f"tgh-classify: error: {file}: .off needs trimesh: pip install trimesh\n")
    assert "No such file" in run(tmp_path / "none.off")[2]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_output_that_cannot_be_written_is_one_line(tmp_path):
    file = write_npy(tmp_path / "cloud.npy", points())
    command = [sys.executable, "-m", "torch_geometric_hyperbolic.classify", str(file)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("tgh-classify: error: the classes cannot be")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "args,names",
    [
        (["whole.npy"], {"whole.npy": "modelnet40-85k"}),
        (["few.npy"], {"few.npy": "modelnet40-85k-sparse"}),
        (
            ["few.npy", "whole.npy"],
            {"few.npy": "modelnet40-85k-sparse", "whole.npy": "modelnet40-85k"},
        ),
        (["--num-points", K, "whole.npy"], {"whole.npy": "modelnet40-85k-sparse"}),
        (["--model", "modelnet40-85k", "few.npy"], {"few.npy": "modelnet40-85k"}),
        (["--model", "modelnet40-85k-sparse", "whole.npy"], {"whole.npy": "modelnet40-85k-sparse"}),
    ],
)
def test_clouds_of_fewer_points_have_their_own_network(args, names, tmp_path, run, monkeypatch):
    class Network:
        num_points, min_points = NUM_POINTS, K

        def __init__(self, name):
            self.class_names = [name]

        def __call__(self, pos, batch):
            return torch.zeros(1, 1)

    monkeypatch.setattr(HyperbolicDGCNN, "from_pretrained", Network)
    monkeypatch.chdir(tmp_path)
    write_npy(tmp_path / "whole.npy", points(NUM_POINTS + 1))
    write_npy(tmp_path / "few.npy", points(NUM_POINTS - 1))
    status, out, err = run("--json", *args)
    assert (status, err) == (0, "")
    assert {row["file"]: row["classes"][0]["name"] for row in json.loads(out)} == names


@pytest.mark.parametrize(
    "args,reason",
    [
        (["--top", "0"], "argument --top: must be an integer of at least 1 (got '0')"),
        (["--top", "two"], "argument --top: must be an integer of at least 1 (got 'two')"),
        (["--seed", "-1"], "argument --seed: must be an integer of at least 0 (got '-1')"),
        (["--num-points", "1.5"], "argument --num-points: must be an integer"),
        (["--num-points", str(K - 1)], f"--num-points: must be at least {K} (got {K - 1})"),
        (["--up", "w"], "argument --up: invalid choice: 'w'"),
        (["--up", "xy"], "argument --up: invalid choice: 'xy'"),
        (["--model", "none"], "argument --model: 'name' must be 'modelnet40-85k' (got 'none')"),
        (["--model", ""], "argument --model: 'name' must be 'modelnet40-85k' (got '')"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_wrong_arguments_are_one_line(args, reason, tmp_path, run):
    status, out, err = run(write_npy(tmp_path / "a.npy", points()), *args)
    assert (status, out) == (2, "")
    assert err.startswith("tgh-classify: error: ") and err.count("\n") == 1
    assert reason in err


def test_a_call_without_files_is_one_line(run):
    status, _, err = run()
    assert (status, err) == (
        2,
        "tgh-classify: error: the following arguments are required: FILE\n",
    )


def test_the_command_starts():
    command = [sys.executable, "-W", "ignore", "-m", "torch_geometric_hyperbolic.classify"]
    done = subprocess.run([*command, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: tgh-classify")


def test_the_command_is_installed_under_its_name():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert '\ntgh-classify = "torch_geometric_hyperbolic.classify:main"\n' in text


SOLID = rows(CORNERS, "v {} {} {}")


@pytest.mark.parametrize(
    "text",
    [
        SOLID + "f 1 2 3\nf 4 5 \\\n  6\n",
        SOLID + "f -6 -5 \\\n -4 # relative\nf -3 -2 -1\n",
        "\ufeff" + SOLID + "vt 0 0\nf -6/-1 -5/-1 -4/-1\nf 4 5 6\n",
        SOLID.replace("\n", "\r\n") + "\tf\t-6\t-5\t-4\r\nf 4// 5// -1//\r\n",
        SOLID.replace("v ", "v\t") + "f\t1 2 3\nf\t4 5 6\n",
        SOLID.replace("v ", "  v ") + "  f 1 2 3\n  f 4 5 6\n",
    ],
)
def test_faces_of_obj_files_are_those_they_name(text, tmp_path):
    path = tmp_path / "shape.obj"
    path.write_bytes(text.encode())
    vertices, faces = read_shape(path)
    corners = vertices[faces].round(6)
    assert {tuple(sorted(map(tuple, face))) for face in corners.tolist()} == {
        tuple(sorted(map(tuple, CORNERS[part].astype(float).tolist())))
        for part in ([0, 1, 2], [3, 4, 5])
    }


def test_faces_that_count_from_zero_are_refused(tmp_path):
    file = write(tmp_path / "zero.obj", SOLID + "f 0 1 2\nf 3 4 5\n")
    with pytest.raises(ValueError, match="face index 0 names none of the 6"):
        read_shape(file)


@pytest.mark.parametrize("face", ["-7 -2 -1", "-0 1 2", "-x 1 2"])
def test_an_index_before_the_file_is_one_line(face, tmp_path, run):
    file = write(tmp_path / "bad.obj", SOLID + f"f {face}\n")
    status, _, err = run(file)
    assert status == 2
    assert len(err.splitlines()) == 1 and str(file) in err


def test_names_that_the_output_cannot_spell_are_escaped(tmp_path, monkeypatch):
    file = CLOUDS["f64.npy"](tmp_path / "стул.npy")
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert classify.main([str(file)]) == 0
    name, *classes = stdout.buffer.getvalue().decode().splitlines()
    assert name == str(tmp_path / "\\u0441\\u0442\\u0443\\u043b.npy") and len(classes) == 3


def test_vertices_of_two_coordinates_are_named(tmp_path, capsys):
    path = tmp_path / "flat.obj"
    path.write_text("v 0 0\nv 1 0\nv 0 1\nf 1 2 3\n")
    assert classify.main([str(path)]) != 0
    assert "vertices must have x, y and z, got 'v 0 0'" in capsys.readouterr().err


def test_a_file_too_large_for_memory_is_one_line(tmp_path, capsys, monkeypatch):
    def too_large(*args):
        raise MemoryError("cannot allocate\n9 GiB")

    monkeypatch.setattr(classify, "load_cloud", too_large)
    assert classify.main([str(tmp_path / "a.xyz")]) == 2
    assert capsys.readouterr().err.endswith("a.xyz: cannot allocate 9 GiB\n")
