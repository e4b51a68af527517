"""What ``torch.compile`` can trace of named tuples in every PyTorch that the package supports.

Up to 2.8, tested by hand, it traces their fields and methods, but no properties, slices or
``_replace``; the versions of the other tests take all of them.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "torch_geometric_hyperbolic"


def named_tuples(tree: ast.AST) -> list[ast.ClassDef]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "NamedTuple" for base in node.bases)
    ]


def refused(node: ast.AST) -> str | None:
    """What of a class is not traced, or :obj:`None`."""
    if isinstance(node, ast.FunctionDef):
        names = [ast.unparse(decorator) for decorator in node.decorator_list]
        return f"the property {node.name}" if "property" in names else None
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        return ast.unparse(node) if ast.unparse(node.value) == "self" else None
    if isinstance(node, ast.Attribute) and node.attr == "_replace":
        return ast.unparse(node)
    return None


def test_there_are_named_tuples_to_look_at():
    trees = [ast.parse(file.read_text()) for file in PACKAGE.rglob("*.py")]
    assert len([kind for tree in trees for kind in named_tuples(tree)]) > 5


@pytest.mark.parametrize(
    "code", ["@property\n    def f(self): ...", "f = self[:2]", "f = self._replace(x=1)"]
)
def test_what_is_refused_is_found(code):
    (kind,) = named_tuples(ast.parse(f"class Two(NamedTuple):\n    {code}"))
    assert any(refused(node) for node in ast.walk(kind))


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: file.stem)
def test_named_tuples_can_be_traced(file):
    kinds = named_tuples(ast.parse(file.read_text()))
    assert [refused(node) for kind in kinds for node in ast.walk(kind) if refused(node)] == []
