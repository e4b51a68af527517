"""Points and triangles of mesh and point-cloud files: what :mod:`classify` reads."""

import re
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

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


def _as_trimesh_reads(file: BinaryIO) -> BinaryIO:
    """An OBJ file without what trimesh misreads: indented and continued lines, tabs, comments, and
    faces with negative indices, which count back from the line they stand in (trimesh counts from
    the end of the file).
    """
    text = file.read().decode("utf-8-sig", "surrogateescape")
    text = re.sub(r"\\[ \t]*\r?\n", " ", text)  # where a line goes on
    lines = "\n".join(_plain_lines(text.splitlines()))
    return BytesIO(lines.encode("utf-8", "surrogateescape"))


def _plain_lines(lines: Iterable[str]) -> Iterator[str]:
    counts = {"v": 0, "vt": 0, "vn": 0}
    for line in lines:
        kind, *words = line.partition("#")[0].split() or [""]
        if kind in counts:
            counts[kind] += 1
        if kind == "f":
            corners = [zip(word.split("/"), counts.values(), strict=False) for word in words]
            words = ["/".join(_absolute(i, count) for i, count in corner) for corner in corners]
        yield " ".join([kind, *words])


def _absolute(index: str, count: int) -> str:
    """An index into what ``count`` lines have held so far, from 1."""
    if not index or int(index) > 0:
        return index
    if not -count <= int(index) < 0:
        raise ValueError(f"face index {index} names none of the {count} so far")
    return str(int(index) + count + 1)


def _plain_ply(file: BinaryIO) -> tuple[BinaryIO, dict[str, int]]:
    """A PLY file without what trimesh trips over, and how many of each element it says it has.

    Comments go, and all but vertices, faces, coordinates and corners get names that mean nothing.
    """
    known = {"vertex": ("x", "y", "z"), "face": ("vertex_index", "vertex_indices")}
    lines: list[str] = []
    counts: dict[str, int] = {}
    element = ""
    for line in iter(file.readline, b""):
        words = line.decode("latin-1").split()
        kind = words[0] if words else "comment"
        if kind == "element":
            element = words[1]
            counts[element] = int(words[2])
            words[1] = element if element in known else f"other{len(lines)}"
        if kind == "property" and words[-1] not in known.get(element, ()):
            words[-1] = f"other{len(lines)}"
        if kind not in ("comment", "obj_info"):
            lines.append(" ".join(words) + "\n")
        if words == ["end_header"]:
            return BytesIO("".join(lines).encode("latin-1") + file.read()), counts
    raise ValueError("the header has no end")


def _read_ply(file: BinaryIO) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    file, says = _plain_ply(file)
    if says.get("tristrips"):
        raise ValueError("strips of triangles are not supported")
    vertices, faces = _by_trimesh(file, "ply")
    _check_counts(len(vertices), says.get("vertex", 0), "vertices")
    _check_counts(len(faces), says.get("face", 0), "faces")
    return vertices, faces


def _read_off(file: BinaryIO) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    text = re.sub("#.*", "", file.read().decode("utf-8-sig", "replace")).strip()
    keyword = re.match("(ST)?C?N?OFF", text, re.IGNORECASE)
    if keyword is None:
        raise ValueError(f"must begin with OFF, got {text[:20]!r}")
    lines = [line.split() for line in text[keyword.end() :].splitlines() if line.strip()]
    if not lines or len(lines[0]) < 2:
        raise ValueError("must tell how many vertices and faces it holds")
    num_vertices, num_faces = map(int, lines[0][:2])
    vertices, faces = lines[1:][:num_vertices], lines[1:][num_vertices:][:num_faces]
    _check_counts(len(vertices), num_vertices, "vertices")
    _check_counts(len(faces), num_faces, "faces")
    polygons = [list(map(int, face[1 : 1 + int(face[0])])) for face in faces]
    for face, corners in zip(faces, polygons, strict=True):
        _check_counts(len(corners), int(face[0]), "corners")
    triangles = [(p[0], *side) for p in polygons for side in zip(p[1:], p[2:], strict=False)]
    points = np.array([row[:3] for row in vertices], dtype=np.float64).reshape(-1, 3)
    return points, np.array(triangles, dtype=np.int64).reshape(-1, 3)


def _read_obj(file: BinaryIO) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    return _by_trimesh(_as_trimesh_reads(file), "obj")


def _check_counts(found: int, said: int, what: str) -> None:
    """Raise a :class:`ValueError` for a file with fewer of something than it says, cut short."""
    if found < said:
        raise ValueError(f"must hold {said} {what}, as it says, got {found}")


def _by_trimesh(file: BinaryIO, kind: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    import trimesh

    scene = trimesh.load_scene(file, kind, process=False)
    mesh = scene.to_mesh()
    vertices, faces = np.array(mesh.vertices), np.array(mesh.faces, dtype=np.int64).reshape(-1, 3)
    if not len(faces):
        vertices = np.concatenate(
            [np.empty((0, 3)), *(g.vertices for g in scene.geometry.values())]
        )
    return vertices, faces


def _read_mesh(file: BinaryIO, suffix: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices ``[P, 3]`` and triangles ``[F, 3]``; none, if the file holds points only.

    Polygons become fans about their first corners, so what is beyond triangles should be convex.
    """
    read = {".obj": _read_obj, ".off": _read_off, ".ply": _read_ply}[suffix]
    vertices, faces = read(file)
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise ValueError(f"faces must name vertices in [0, {len(vertices)})")
    return vertices, faces


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
            return _read_mesh(file, suffix)
        read = _read_npy if suffix == ".npy" else _read_xyz
        return read(file), np.empty((0, 3), dtype=np.int64)
    except OSError:
        raise
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"cannot be read as {suffix[1:].upper()} ({error})") from error
