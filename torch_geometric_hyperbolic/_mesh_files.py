"""Vertices and triangles of mesh files, read with trimesh where it reads them right."""

import re
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Mesh = tuple[NDArray[np.float64], NDArray[np.int64]]


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
        if kind == "v" and len(words) < 3:
            raise ValueError(f"vertices must have x, y and z, got {line!r}")
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


def _plain_ply(file: BinaryIO) -> BinaryIO:
    """A PLY file without what trimesh trips over: comments and blank lines, and names of anything
    but vertices and faces, their coordinates and corners.
    """
    known = {"vertex": ("x", "y", "z"), "face": ("vertex_index", "vertex_indices")}
    lines: list[list[str]] = []
    counts: dict[str, int] = {}
    found: dict[str, list[str]] = {"vertex": [], "face": []}
    element, form = "", ""
    for line in iter(file.readline, b""):
        words = line.decode("latin-1").split()
        kind, name = (words[0], words[-1]) if words else ("comment", "")
        if kind == "format":
            form = words[1]
        elif kind == "element":
            element = words[1]
            counts[element] = int(name)
            words[1] = element if element in known else f"other{len(lines)}"
        elif kind == "property" and name in known.get(element, ()):
            found[element].append(name)
        elif kind == "property":
            words[-1] = f"other{len(lines)}"
        if kind not in ("comment", "obj_info"):
            lines.append(words)
        if kind == "end_header":
            break
    else:
        raise ValueError("the header has no end")
    if counts.get("tristrips"):
        raise ValueError("strips of triangles are not supported")
    if counts.get("vertex") and sorted(found["vertex"]) != ["x", "y", "z"]:
        raise ValueError("vertices must have the properties x, y and z")
    if counts.get("face") and len(found["face"]) != 1:
        raise ValueError("faces must have the property vertex_indices")
    body = file.read()
    if form == "ascii":
        rows = [row for row in body.splitlines() if row.strip()]
        _check_counts(len(rows), sum(counts.values()), "rows")
        body = b"\n".join(rows)
    header = "".join(" ".join(words) + "\n" for words in lines)
    return BytesIO(header.encode("latin-1") + body)


def _read_ply(file: BinaryIO) -> Mesh:
    return _by_trimesh(_plain_ply(file), "ply")


def _check_corners(raw: Mapping[str, Any]) -> None:
    """Raise a :class:`ValueError` for a binary PLY file's polygons of several sizes, which trimesh
    takes for those of the first one's if their lengths add up.
    """
    data = raw.get("face", {}).get("data")
    for name in getattr(getattr(data, "dtype", None), "names", None) or ():
        corners = data[name]
        if corners.dtype.names and (corners["f0"] != corners["f0"][0]).any():
            raise ValueError("all faces must have the same number of corners")


def _read_off(file: BinaryIO) -> Mesh:
    text = re.sub("#.*", "", file.read().decode("utf-8-sig", "replace")).strip()
    keyword = re.match("(ST)?[CN]{0,2}OFF", text, re.IGNORECASE)
    if keyword is None:
        raise ValueError(f"must begin with OFF, got {text[:20]!r}")
    lines = [line.split() for line in text[keyword.end() :].splitlines() if line.strip()]
    if not lines or len(lines[0]) < 2:
        raise ValueError("must tell how many vertices and faces it holds")
    num_vertices, num_faces = map(_count, lines[0][:2])
    vertices, faces = lines[1:][:num_vertices], lines[1:][num_vertices:][:num_faces]
    _check_counts(len(vertices), num_vertices, "vertices")
    _check_counts(len(faces), num_faces, "faces")
    polygons = [list(map(int, face[1 : 1 + _count(face[0])])) for face in faces]
    for face, corners in zip(faces, polygons, strict=True):
        _check_counts(len(corners), int(face[0]), "corners")
    triangles = [(p[0], *side) for p in polygons for side in zip(p[1:], p[2:], strict=False)]
    points = np.array([row[:3] for row in vertices], dtype=np.float64).reshape(-1, 3)
    return points, np.array(triangles, dtype=np.int64).reshape(-1, 3)


def _read_obj(file: BinaryIO) -> Mesh:
    return _by_trimesh(_as_trimesh_reads(file), "obj")


def _count(word: str) -> int:
    if not word.isdecimal():
        raise ValueError(f"must count vertices, faces and corners, got {word!r}")
    return int(word)


def _check_counts(found: int, said: int, what: str) -> None:
    """Raise a :class:`ValueError` for a file with fewer of something than it says, cut short."""
    if found < said:
        raise ValueError(f"must hold {said} {what}, as it says, got {found}")


def _by_trimesh(file: BinaryIO, kind: str) -> Mesh:
    import trimesh

    scene = trimesh.load_scene(file, kind, process=False)
    for part in scene.geometry.values():
        _check_corners(part.metadata.get("_ply_raw", {}))
    mesh = scene.to_mesh()
    vertices, faces = np.array(mesh.vertices), np.array(mesh.faces, dtype=np.int64).reshape(-1, 3)
    if not len(faces):
        vertices = np.concatenate(
            [np.empty((0, 3)), *(g.vertices for g in scene.geometry.values())]
        )
    return vertices, faces


def read_mesh(file: BinaryIO, suffix: str) -> Mesh:
    """Vertices ``[P, 3]`` and triangles ``[F, 3]``; none, if the file holds points only.

    Polygons become fans about their first corners, so what is beyond triangles should be convex.
    """
    read = {".obj": _read_obj, ".off": _read_off, ".ply": _read_ply}[suffix]
    vertices, faces = read(file)
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise ValueError(f"faces must name vertices in [0, {len(vertices)})")
    return vertices, faces
