"""What every public name and every module owes: an example, a mirror test, one definition."""

import ast
import doctest
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

import torch_geometric_hyperbolic

NAME = "torch_geometric_hyperbolic"
PACKAGE = Path(torch_geometric_hyperbolic.__file__).parent
TESTS = Path(__file__).parent


def subpackages() -> list[str]:
    """Those with public names: what begins with an underscore may need packages not installed."""
    folders = [file.parent.relative_to(PACKAGE) for file in PACKAGE.rglob("__init__.py")]
    public = [f for f in folders if f.parts and not any(p.startswith("_") for p in f.parts)]
    return sorted(".".join(folder.parts) for folder in public)


def load(module: str) -> ModuleType:
    return importlib.import_module(f"{NAME}.{module}" if module else NAME)


def unwrapped(value: object) -> object:
    """What a custom operator wraps."""
    return getattr(value, "_init_fn", value)


PUBLIC = [(package, name) for package in subpackages() for name in load(package).__all__]

#: Why a public name shows no example.
NO_EXAMPLE = {
    "geometry.convert": "a module; its functions have one formula each",
    "geometry.lorentz": "a module; its functions have one formula each",
    "geometry.poincare": "a module; its functions have one formula each",
    "manifolds.Manifold": "abstract; its subclasses show theirs",
    "kernels.affine_activation": "an operator behind HyperbolicEdgeConv, which shows it",
    "kernels.batch_affine": "an operator behind HyperbolicEdgeConv, which shows it",
    "kernels.edge_coefficients": "an operator behind HyperbolicEdgeConv, which shows it",
    "kernels.edge_max": "an operator behind HyperbolicEdgeConv, which shows it",
    "kernels.edge_sum": "an operator behind HyperbolicEdgeConv, which shows it",
    "kernels.edge_values": "an operator behind HyperbolicEdgeConv, which shows it",
    "kernels.farthest_points": "an operator behind fps, which shows it",
    "kernels.frechet_mean": "an operator behind FrechetMeanAggregation, which shows it",
    "kernels.fused_engine": "set_fused shows it",
    "kernels.knn_table": "an operator behind knn and knn_graph, which show it",
    "kernels.relative_windows": "an operator behind HConv2d, which shows it",
}


def test_subpackages_are_found():
    assert {"geometry", "manifolds", "kernels", "nn", "nn.conv", "testing"} <= set(subpackages())
    assert not any("_" in name for name in subpackages())


@pytest.mark.parametrize("package,name", PUBLIC)
def test_public_names_are_documented_with_an_example(package, name):
    doc = inspect.getdoc(unwrapped(getattr(load(package), name)))
    assert doc, f"{package}.{name} has no docstring"
    if f"{package}.{name}" not in NO_EXAMPLE:
        assert ">>> " in doc, f"{package}.{name} shows no example"


def test_exemptions_are_still_needed():
    names = {f"{package}.{name}" for package, name in PUBLIC}
    for exempt in NO_EXAMPLE:
        assert exempt in names
        package, _, name = exempt.rpartition(".")
        assert ">>> " not in inspect.getdoc(unwrapped(getattr(load(package), name)))


@pytest.mark.parametrize("name", ["group_edges"])
def test_examples_of_operators_run(name):
    """pytest finds those of functions and classes only."""
    operator = getattr(load("kernels"), name)
    finder, flags = doctest.DocTestFinder(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    names = {**vars(load("kernels")), "torch": torch}
    (test,) = finder.find(unwrapped(operator), name, module=False, globs=names)
    assert test.examples
    assert doctest.DocTestRunner(optionflags=flags).run(test).failed == 0


@pytest.mark.parametrize("package", subpackages())
def test_lists_of_names_hold_each_name_once_and_nothing_private(package):
    names = load(package).__all__
    assert len(set(names)) == len(names)
    assert all(not name.startswith("_") and hasattr(load(package), name) for name in names)


def test_layers_aggregations_pools_and_models_are_reexported_by_nn():
    nn = load("nn")
    inner = [name for name in subpackages() if name.startswith("nn.")]
    expected = sorted(name for package in inner for name in load(package).__all__)
    assert sorted(nn.__all__) == expected
    for package in inner:
        for name in load(package).__all__:
            assert getattr(nn, name) is getattr(load(package), name)


def test_subpackages_are_attributes_of_the_package():
    for name in torch_geometric_hyperbolic.__all__:
        assert getattr(torch_geometric_hyperbolic, name) is load(name)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = torch_geometric_hyperbolic.nonsense


def test_the_version_is_a_number():
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", torch_geometric_hyperbolic.__version__)


def arguments_in_docstring(doc: str) -> list[str]:
    """Names listed under ``Args:``."""
    section = re.search(r"^Args:\n((?:[ ]+.*\n|\n)+)", doc + "\n", re.MULTILINE)
    if not section:
        return []
    return re.findall(r"^ {4}(\**\w+)", section.group(1), re.MULTILINE)


@pytest.mark.parametrize("package,name", [p for p in PUBLIC if not p[0].startswith("nn.")])
def test_documented_arguments_are_those_of_the_signature(package, name):
    value = getattr(load(package), name)
    documented = arguments_in_docstring(inspect.getdoc(unwrapped(value)))
    if not documented:
        return
    parameters = inspect.signature(unwrapped(value)).parameters.values()
    stars = {inspect.Parameter.VAR_KEYWORD: "**", inspect.Parameter.VAR_POSITIONAL: "*"}
    assert documented == [stars.get(p.kind, "") + p.name for p in parameters]


@pytest.mark.parametrize("package,name", [p for p in PUBLIC if not p[0].startswith("nn.")])
def test_documented_defaults_are_those_of_the_signature(package, name):
    value = unwrapped(getattr(load(package), name))
    parameters = inspect.signature(value).parameters if callable(value) else {}
    for entry in re.finditer(r"^ {4}(\w+) \(.*(?:\n {8}.*)*", inspect.getdoc(value) or "", re.M):
        default = re.search(r"\(default:\s+:obj:`(.*?)`\)", entry[0])
        if default:
            assert default[1].strip("'\"") == str(parameters[entry[1]].default), entry[1]


def package_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def relative(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("file", package_files(), ids=relative)
def test_the_package_prints_nothing(file):
    calls = [
        node
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]
    printing = [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
    assert not printing


#: Private modules tested through the public ones that use them.
SHARED_MIRRORS = {
    "_mesh_files.py": "test_classify.py",
    "_shape_files.py": "test_classify.py",
    "datasets/_download.py": "datasets/test_modelnet_points.py",
    "datasets/_point_clouds.py": "datasets/test_modelnet_points.py",
    "datasets/_surfaces.py": "datasets/test_shape_primitives.py",
    "geometry/_ball.py": "geometry/test_accuracy.py",
    "geometry/_heat.py": "geometry/test_harmonic.py",
    "geometry/_hyperboloid.py": "geometry/test_lorentz.py",
    "geometry/_precision.py": "geometry/test_dtypes.py",
    "kernels/_autograd.py": "kernels/test_edge_values.py",
    "kernels/_cloud_search.py": "kernels/test_knn.py",
    "kernels/_slopes.py": "kernels/test_edge_values.py",
    "kernels/_space.py": "kernels/test_radial.py",
    "kernels/_cpu/affine.py": "kernels/test_affine_activation.py",
    "kernels/_cpu/chosen_edges.py": "kernels/test_edge_max.py",
    "kernels/_cpu/coefficients.py": "kernels/test_edge_coefficients.py",
    "kernels/_cpu/compiled.py": "kernels/test_compiled.py",
    "kernels/_cpu/edges.py": "kernels/test_edge_values.py",
    "kernels/_cpu/extremes.py": "kernels/test_edge_max.py",
    "kernels/_cpu/farthest.py": "kernels/test_farthest_points.py",
    "kernels/_cpu/frechet_mean.py": "kernels/test_frechet_mean.py",
    "kernels/_cpu/graphs.py": "kernels/test_group_edges.py",
    "kernels/_cpu/group_moments.py": "kernels/test_group_moments.py",
    "kernels/_cpu/knn.py": "kernels/test_knn.py",
    "kernels/_cpu/linear_max.py": "kernels/test_linear_max.py",
    "kernels/_cpu/local_coordinates.py": "kernels/test_local_coordinates.py",
    "kernels/_cpu/logarithm.py": "kernels/test_logarithm.py",
    "kernels/_cpu/move.py": "kernels/test_move.py",
    "kernels/_cpu/pixels.py": "kernels/test_channels_last.py",
    "kernels/_cpu/radial.py": "kernels/test_radial.py",
    "kernels/_cpu/relative_windows.py": "kernels/test_relative_windows.py",
    "kernels/_cpu/rough_keys.py": "kernels/test_rough_keys.py",
    "kernels/_cpu/scalars.py": "kernels/test_edge_coefficients.py",
    "kernels/_cpu/threads.py": "kernels/test_compiled.py",
    "kernels/_cpu/wide_linear.py": "kernels/test_wide_linear.py",
    "kernels/_cpu/window_lengths.py": "kernels/test_window_lengths.py",
    "kernels/_cpu/windows.py": "kernels/test_edge_vectors.py",
    "kernels/_triton/affine.py": "kernels/test_triton.py",
    "kernels/_triton/coefficients.py": "kernels/test_triton.py",
    "kernels/_triton/edge_gradients.py": "kernels/test_triton.py",
    "kernels/_triton/edges.py": "kernels/test_triton.py",
    "kernels/_triton/farthest.py": "kernels/test_triton.py",
    "kernels/_triton/knn.py": "kernels/test_triton.py",
    "kernels/_triton/launch.py": "kernels/test_triton.py",
    "kernels/_triton/radial.py": "kernels/test_triton.py",
    "kernels/_triton/scalars.py": "kernels/test_triton.py",
    "kernels/solve_hessian.py": "kernels/test_frechet_mean.py",
    "nn/aggr/_groups.py": "nn/aggr/test_contract.py",
    "nn/conv/_edge_terms.py": "nn/conv/test_fused_edges.py",
    "nn/conv/_image_windows.py": "nn/conv/test_h_conv2d.py",
    "nn/models/_levels.py": "nn/models/test_hyperbolic_dgcnn.py",
}


def mirror(file: str) -> str:
    return SHARED_MIRRORS.get(file, own_mirror(file))


def own_mirror(file: str) -> str:
    """``nn/conv/h_conv.py`` is tested by ``nn/conv/test_h_conv.py``, a private module under its
    name without the underscore.
    """
    folder, _, name = file.rpartition("/")
    own = f"test_{name.lstrip('_')}"
    return f"{folder}/{own}" if folder else own


@pytest.mark.parametrize("file", [relative(f) for f in package_files() if f.name != "__init__.py"])
def test_every_module_has_a_mirror_test(file):
    path = TESTS / mirror(file)
    assert path.is_file(), f"{file} has no {path.relative_to(TESTS)}"
    tests = [
        node.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert tests, f"{path.relative_to(TESTS)} holds no test"


def test_private_subpackages_have_no_public_names():
    for file in PACKAGE.rglob("_*/__init__.py"):
        assert "__all__" not in file.read_text(encoding="utf-8")


def test_shared_mirrors_are_still_needed():
    assert all((PACKAGE / file).is_file() for file in SHARED_MIRRORS)
    assert not any((TESTS / own_mirror(file)).is_file() for file in SHARED_MIRRORS)


#: Formulas of the geometry, under the names they have here and elsewhere.
DEFINED_ONCE = {
    "mobius_add", "exp0", "log0", "expmap0", "logmap0", "rel", "move", "dist", "gyration",
    "expmap", "logmap", "transp", "transp0", "transp0back", "artanh", "arcosh", "arsinh",
    "lambda_x", "conformal_factor", "poincare_to_lorentz", "lorentz_to_poincare",
}  # fmt: skip


def definitions(file: Path) -> list[ast.FunctionDef]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return [f for f in functions if f.name.lstrip("_") in DEFINED_ONCE]


@pytest.mark.parametrize(
    "file",
    [
        f
        for f in package_files()
        if not relative(f).startswith(("geometry/", "manifolds/", "kernels/"))
    ],
    ids=relative,
)
def test_formulas_are_defined_in_geometry_only(file):
    """A kernel is a verb's second form, under its name, and its test compares the two."""
    assert [f.name for f in definitions(file)] == []


def test_methods_of_hyperbolic_manifolds_forward_to_geometry():
    files = [PACKAGE / "manifolds" / f"{name}.py" for name in ("hyperbolic", "poincare", "lorentz")]
    forwarding = [function for file in files for function in definitions(file)]
    assert len(forwarding) >= 8
    for function in forwarding:
        source = ast.unparse(function)
        assert f"self.geometry.{function.name}(" in source
        assert not re.search(r"\b(sqrt|tanh|atanh|sinh|cosh|acosh|asinh|norm|dot)\b", source)


@pytest.mark.parametrize("package", ["", *subpackages()])
def test_type_checkers_read_the_list_of_names(package):
    """They know no other form than ``__all__ = [...]``, and names that are not in it are private
    to them (typing specification, "Library interface").
    """
    tree = ast.parse(Path(load(package).__file__).read_text(encoding="utf-8"))
    assigned = [[ast.unparse(t) for t in n.targets] for n in tree.body if isinstance(n, ast.Assign)]
    assert [names for names in assigned if "__all__" in names] == [["__all__"]]
