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


KINDS = [
    kind
    for file in sorted(PACKAGE.rglob("*.py"))
    for kind in named_tuples(ast.parse(file.read_text()))
]


@pytest.mark.parametrize(
    "code", ["@property\n    def f(self): ...", "f = self[:2]", "f = self._replace(x=1)"]
)
def test_what_is_refused_is_found(code):
    (kind,) = named_tuples(ast.parse(f"class Two(NamedTuple):\n    {code}"))
    assert any(refused(node) for node in ast.walk(kind))


def test_the_terms_of_edges_are_among_the_named_tuples():
    assert {"EdgeTerms", "EdgeVectors", "FusedEdges", "ImageWindows"} < {
        kind.name for kind in KINDS
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_named_tuples_can_be_traced(kind):
    assert [refused(node) for node in ast.walk(kind) if refused(node)] == []
