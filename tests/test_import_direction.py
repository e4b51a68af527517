"""Who may import whom, and where guards and optional imports may stand, read from the source."""

import ast
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

NAME = "torch_geometric_hyperbolic"
ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / NAME

#: From the bottom to the top: a module imports from its own level and those below.
LEVELS = [
    ["typing"],  # helper
    ["geometry"],
    ["manifolds"],
    ["checks"],  # helper
    ["kernels"],
    ["nn.inits"],  # helper
    ["nn.aggr", "nn.pool", "nn.dense"],
    ["nn.resolver"],  # helper: names of aggregations
    ["nn.conv"],
    ["nn.models"],
    ["nn"],  # __init__.py only
    ["_mesh_files"],  # helper
    ["_shape_files"],  # helper
    ["classify"],  # the command tgh-classify
    ["benchmarks"],
]

#: Beside that order: what they may import, and nothing but ``benchmarks`` imports them.
BESIDE = {
    "datasets": ["typing", "checks"],
    "testing": ["typing", "geometry", "manifolds", "checks"],
}


def files() -> list[Path]:
    return sorted([*PACKAGE.rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])


def module_name(file: Path) -> str:
    """``nn.conv.h_conv``; the package itself is the empty name."""
    parts = file.relative_to(PACKAGE if file.is_relative_to(PACKAGE) else ROOT).with_suffix("")
    return ".".join(part for part in parts.parts if part != "__init__")


def imported(tree: ast.AST) -> Iterator[str]:
    """Names of what is imported from the package, as written; also of names inside modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (
            name.removeprefix(NAME).removeprefix(".")
            for name in names
            if name == NAME or name.startswith(NAME + ".")
        )


def longest_prefix(module: str, prefixes: list[str]) -> str | None:
    matching = [p for p in prefixes if module == p or module.startswith(p + ".")]
    return max(matching, key=len, default=None)


def level(module: str) -> int:
    prefix = longest_prefix(module, [name for names in LEVELS for name in names])
    assert prefix, f"'{module}' has no place in LEVELS"
    return next(i for i, names in enumerate(LEVELS) if prefix in names)


def forbidden(importer: str, target: str) -> bool:
    beside = longest_prefix(target, list(BESIDE))
    if own := longest_prefix(importer, list(BESIDE)):
        return beside != own and not longest_prefix(target, BESIDE[own])
    if beside or not target:
        return longest_prefix(importer, ["benchmarks"]) is None
    return level(target) > level(importer)


def for_checkers_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


@pytest.mark.parametrize("file", files(), ids=lambda f: module_name(f) or NAME)
def test_imports_point_down(file):
    importer = module_name(file)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    if not importer:
        tree.body = [node for node in tree.body if not for_checkers_only(node)]
    targets = set(imported(tree))
    if not importer:
        assert not targets, "the package itself imports nothing"
        return
    wrong = sorted(target for target in targets if forbidden(importer, target))
    assert not wrong, f"{importer} imports {wrong}"


def test_the_order_is_that_of_the_design():
    order = ["geometry", "manifolds", "kernels", "nn.aggr", "nn.conv", "nn.models", "benchmarks"]
    assert [level(name) for name in order] == sorted({level(name) for name in order})
    assert level("nn.aggr") == level("nn.pool") == level("nn.dense")
    assert forbidden("geometry.poincare", "manifolds.PoincareBall")
    assert forbidden("manifolds.base", "checks.check_manifold")
    assert forbidden("nn.pool.knn", "nn.conv.HConv")
    assert forbidden("nn.conv.h_conv", "nn.HConv")
    assert forbidden("nn.conv.h_conv", "testing.check_layer")
    assert forbidden("datasets.modelnet_points", "nn.knn")
    assert not forbidden("nn.resolver", "nn.aggr.MidpointAggregation")
    assert not forbidden("benchmarks._clouds", "datasets.ModelNetPoints")


GEOMETRY_ALONE = """
import sys


class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch_geometric", "geoopt"):
            raise ImportError(f"{name} is blocked")


sys.meta_path.insert(0, Blocker())
import torch
from torch_geometric_hyperbolic.geometry import convert, lorentz, poincare

x, y = torch.tensor([[0.1, 0.2], [0.3, -0.4]])
ball = poincare.dist(x, y, c=1.0)
hyperboloid = lorentz.dist(
    *(convert.poincare_to_lorentz(p, c=1.0) for p in (x, y)), c=1.0
)
assert torch.allclose(ball, hyperboloid)
try:
    import torch_geometric_hyperbolic.nn
except ImportError:
    print("blocked")
"""


def test_geometry_works_without_torch_geometric_and_geoopt():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GEOMETRY_ALONE],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "blocked"


def falls_back(node: ast.AST) -> bool:
    """A failing import that goes unnoticed; raising another error is fine."""
    if not isinstance(node, ast.Try):
        return False
    return any(
        "ImportError" in ast.unparse(handler.type or ast.Constant("ImportError"))
        and not any(isinstance(inner, ast.Raise) for inner in handler.body)
        for handler in node.handlers
    )


def test_only_typing_goes_on_without_a_package():
    found = [
        module_name(file)
        for file in PACKAGE.rglob("*.py")
        if any(falls_back(node) for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    ]
    assert found == ["typing"]


#: Packages that compile loops, and the only folders that import them.
COMPILERS = {"numba": "kernels._cpu", "triton": "kernels._triton"}
FLAGS = {"kernels._cpu": "WITH_NUMBA", "kernels._triton": "WITH_TRITON"}


def roots(tree: ast.AST) -> set[str]:
    """Top-level packages that are imported anywhere in a file."""
    names = [
        name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    ]
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("file", files(), ids=lambda f: module_name(f) or NAME)
def test_compilers_are_imported_in_their_folders_only(file):
    for package in roots(ast.parse(file.read_text(encoding="utf-8"))) & COMPILERS.keys():
        assert longest_prefix(module_name(file), [COMPILERS[package]]), f"imports {package}"


def unguarded(importer: str, tree: ast.AST) -> set[str]:
    """Compiled loops that are imported from outside their folder whether installed or not."""
    bare = {target for target in imported(tree) if longest_prefix(target, list(FLAGS))}
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name):
            inside = {target for statement in node.body for target in imported(statement)}
            bare -= {t for t in inside if FLAGS.get(longest_prefix(t, list(FLAGS))) == node.test.id}
    own = longest_prefix(importer, list(FLAGS))
    return {target for target in bare if longest_prefix(target, list(FLAGS)) != own}


@pytest.mark.parametrize("file", files(), ids=lambda f: module_name(f) or NAME)
def test_compiled_loops_are_imported_where_they_can_be_only(file):
    assert not unguarded(module_name(file), ast.parse(file.read_text(encoding="utf-8")))


def test_unguarded_imports_are_seen():
    line = f"from {NAME}.kernels._cpu import edges"
    assert unguarded("kernels.edge_max", ast.parse(line)) == {"kernels._cpu.edges"}
    assert unguarded("kernels.edge_max", ast.parse(f"if WITH_TRITON:\n    {line}"))
    assert not unguarded("kernels.edge_max", ast.parse(f"if WITH_NUMBA:\n    {line}"))
    assert not unguarded("kernels._cpu.coefficients", ast.parse(line))
    assert roots(ast.parse("def f():\n    from numba.core import types\n")) == {"numba"}


#: Where small numbers are no guards of the geometry.
NOT_GEOMETRY = {
    "testing": "tolerances and radii of tests",
    "datasets": "shapes are made with numpy, not on manifolds",
}

SMALL = re.compile(r"(\d+\.?\d*|\.\d+)[eE]-\d+")
CLAMPS = {"clamp", "clamp_", "clamp_min", "clamp_max", "clip", "clip_"}


def tolerances(tree: ast.AST) -> set[tuple[int, int]]:
    """Places of the defaults of ``atol`` and ``rtol``, which geoopt's contract asks for."""
    places = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arguments):
            for argument, default in zip(node.kwonlyargs, node.kw_defaults, strict=True):
                if argument.arg in ("atol", "rtol") and default is not None:
                    places.add((default.lineno, default.col_offset))
    return places


def guards(file: Path) -> list[str]:
    """Small literals and clamps outside comments and strings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    allowed = tolerances(tree)
    with tokenize.open(file) as source:
        tokens = list(tokenize.generate_tokens(source.readline))
    found = [
        f"{t.start[0]}: {t.string}"
        for t in tokens
        if t.type == tokenize.NUMBER and SMALL.fullmatch(t.string) and t.start not in allowed
    ]
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return found + [
        f"{call.lineno}: .{call.attr}("
        for call in calls
        if isinstance(call, ast.Attribute) and call.attr in CLAMPS
    ]


@pytest.mark.parametrize(
    "file",
    [
        file
        for file in sorted(PACKAGE.rglob("*.py"))
        if module_name(file) != "geometry._numerics"
        and not longest_prefix(module_name(file), list(NOT_GEOMETRY))
    ],
    ids=lambda f: module_name(f) or NAME,
)
def test_guards_and_clamps_are_in_numerics_only(file):
    assert not guards(file)


def test_guards_are_seen(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text('"""1e-15"""\n# 1e-5\ny = x.clamp(min=0) + 1e-15 + 1.5e-07\n')
    assert guards(file) == ["3: 1e-15", "3: 1.5e-07", "3: .clamp("]
    file.write_text("def f(x, *, atol=1e-5, rtol=1e-5, eps=1e-6):\n    return x\n")
    assert guards(file) == ["1: 1e-6"]
