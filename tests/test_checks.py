import importlib.util
import re

import geoopt
import numpy as np
import pytest
import torch

from torch_geometric_hyperbolic import checks
from torch_geometric_hyperbolic.checks import (
    check_counts,
    check_edge_index,
    check_manifold,
    check_offsets,
    check_points,
    check_positive,
    check_sorted,
    set_validation,
    validation_enabled,
)
from torch_geometric_hyperbolic.manifolds import Euclidean, Lorentz, PoincareBall
from torch_geometric_hyperbolic.nn import knn_graph


@pytest.fixture
def validation():
    """Validation switched on; as it was afterwards."""
    before = checks._validation
    set_validation(True)
    yield
    set_validation(before)


def error_line(function, *args, **kwargs) -> str:
    """Kind and text of the error, which is one line."""
    with pytest.raises((TypeError, ValueError)) as info:
        function(*args, **kwargs)
    assert "\n" not in str(info.value)
    return f"{info.type.__name__}: {info.value}"


def test_good_arguments_pass():
    x = torch.zeros(4, 3)
    for manifold in (PoincareBall(), Lorentz(), Euclidean()):
        check_manifold(manifold)
    check_counts(k=1)
    check_counts(k=10**9)
    check_counts(least=0, k=0)
    check_points(x, "x")
    check_points(x, "x", dim=2, width=3, like=torch.zeros(9, 3))
    check_points(x.half(), "x", dim=2)
    check_points(torch.zeros(2, 4, 3), "x", width=3)


@pytest.mark.parametrize("manifold", [geoopt.PoincareBall(), PoincareBall, None, "lorentz", 1.0])
def test_an_unknown_manifold_is_named(manifold):
    assert error_line(check_manifold, manifold) == (
        "TypeError: 'manifold' must be a torch_geometric_hyperbolic.manifolds.Manifold; "
        f"use from_geoopt for geoopt's (got {manifold!r})"
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "ValueError: 'k' must be at least 1 (got 0)"),
        (-5, "ValueError: 'k' must be at least 1 (got -5)"),
        (1.0, "TypeError: 'k' must be an int (got 1.0)"),
        (True, "TypeError: 'k' must be an int (got True)"),
        ("3", "TypeError: 'k' must be an int (got '3')"),
        (None, "TypeError: 'k' must be an int (got None)"),
    ],
)
def test_a_count_is_a_positive_integer(value, expected):
    assert error_line(check_counts, n=2, k=value) == expected


def test_a_count_may_be_at_least_another_number():
    assert error_line(check_counts, least=0, k=-1) == (
        "ValueError: 'k' must be at least 0 (got -1)"
    )


@pytest.mark.parametrize(
    ("x", "options", "expected"),
    [
        ([1.0], {}, "TypeError: 'x' must be a tensor (got list)"),
        (None, {"dim": 2}, "TypeError: 'x' must be a tensor (got NoneType)"),
        (
            torch.zeros(2, 3).long(),
            {},
            "TypeError: 'x' must be a floating-point tensor (got torch.int64)",
        ),
        (
            torch.zeros(2, 3) == 0,
            {"width": 3},
            "TypeError: 'x' must be a floating-point tensor (got torch.bool)",
        ),
        (torch.zeros(3), {"dim": 2}, "ValueError: 'x' must have 2 dimensions (got shape (3,))"),
        (
            torch.zeros(1, 2, 3),
            {"dim": 2},
            "ValueError: 'x' must have 2 dimensions (got shape (1, 2, 3))",
        ),
        (torch.zeros(2, 3), {"width": 4}, "ValueError: 'x' must have last dimension 4 (got 3)"),
        (
            torch.zeros(2, 3),
            {"like": torch.zeros(5, 3).double()},
            "TypeError: 'x' must have dtype torch.float64 as the other input (got torch.float32)",
        ),
        (
            torch.zeros(2, 3),
            {"like": torch.zeros(5, 3, device="meta")},
            "ValueError: 'x' must be on meta as the other input (got cpu)",
        ),
        (
            torch.zeros(2, 3),
            {"like": torch.zeros(5, 4)},
            "ValueError: 'x' must have last dimension 4 as the other input (got 3)",
        ),
    ],
)
def test_points_are_tensors_of_the_right_kind(x, options, expected):
    assert error_line(check_points, x, "x", **options) == expected


EDGES = torch.tensor([[0, 1, 2], [4, 0, 1]])  # sources in [0, 3), targets in [0, 5)


@pytest.mark.usefixtures("validation")
@pytest.mark.parametrize(
    ("sizes", "flow", "expected"),
    [
        ((2, 5), "source_to_target", "source indices in [0, 2) (got 0 to 2)"),
        ((3, 4), "source_to_target", "target indices in [0, 4) (got 0 to 4)"),
        ((5, 2), "target_to_source", "target indices in [0, 2) (got 0 to 2)"),
        ((4, 3), "target_to_source", "source indices in [0, 4) (got 0 to 4)"),
    ],
)
def test_edges_outside_the_nodes_are_named(sizes, flow, expected):
    line = error_line(check_edge_index, EDGES, sizes, flow)
    assert line == f"ValueError: 'edge_index' must hold {expected}"


@pytest.mark.usefixtures("validation")
def test_negative_indices_are_outside():
    line = error_line(check_edge_index, EDGES - 1, (3, 5), "source_to_target")
    assert line == "ValueError: 'edge_index' must hold source indices in [0, 3) (got -1 to 1)"


@pytest.mark.usefixtures("validation")
def test_edges_between_nodes_pass():
    check_edge_index(EDGES, (3, 5), "source_to_target")
    check_edge_index(EDGES, (5, 3), "target_to_source")
    check_edge_index(EDGES[:, :0], (0, 0), "source_to_target")
    sparse = torch.sparse_coo_tensor(EDGES, torch.ones(3), (9, 9), check_invariants=True)
    check_edge_index(sparse, (1, 1), "source_to_target")  # it knows its own size


def test_values_are_looked_at_only_when_asked(validation):
    arguments = (EDGES, (1, 1), "source_to_target")
    assert validation_enabled()
    set_validation(False)
    assert not validation_enabled()
    check_edge_index(*arguments)
    set_validation(True)
    assert validation_enabled()
    error_line(check_edge_index, *arguments)


@pytest.mark.usefixtures("validation")
def test_values_are_not_looked_at_while_compiling():
    def function(edge_index: torch.Tensor) -> torch.Tensor:
        check_edge_index(edge_index, (1, 1), "source_to_target")
        return edge_index + 1

    compiled = torch.compile(function, fullgraph=True, backend="eager")
    assert torch.equal(compiled(EDGES), EDGES + 1)


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("0", False), (None, False), ("", False)]
)
def test_the_environment_sets_validation_at_import(monkeypatch, value, expected):
    monkeypatch.delenv("TGH_VALIDATION", raising=False)
    if value is not None:
        monkeypatch.setenv("TGH_VALIDATION", value)
    spec = importlib.util.spec_from_file_location("checks_imported_again", checks.__file__)
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    assert again.validation_enabled() is expected


ROWPTR, COL = torch.tensor([0, 2, 2, 3]), torch.tensor([1, 0, 3])


def test_offsets_and_sources():
    check_offsets(ROWPTR, COL, 4, 3)
    check_offsets(ROWPTR.int(), COL.int(), 4, 3)
    check_offsets(ROWPTR[:1], COL[:0], 0, 0)


@pytest.mark.parametrize(
    ("rowptr", "col", "error", "words"),
    [
        (
            ROWPTR[:3],
            COL,
            ValueError,
            "offsets of 3 targets, and sources (got shapes (3,) and (3,))",
        ),
        (ROWPTR, COL[None], ValueError, "(got shapes (4,) and (1, 3))"),
        (ROWPTR + 1, COL, ValueError, "must hold offsets that rise from 0 to 3 (got 1 to 4)"),
        (ROWPTR, COL[:2], ValueError, "must hold offsets that rise from 0 to 2 (got 0 to 3)"),
        (torch.tensor([0, 3, 2, 3]), COL, ValueError, "rise from 0 to 3 (got 3 before 2)"),
        (ROWPTR, COL.float(), TypeError, "'edge_index' must be a tensor of integers (got torch.fl"),
        (ROWPTR, COL * torch.nan, TypeError, "must be a tensor of integers (got torch.float32)"),
        (ROWPTR.double(), COL, TypeError, "must be a tensor of integers (got torch.float64)"),
        (ROWPTR, COL > 0, TypeError, "must be a tensor of integers (got torch.bool)"),
        (ROWPTR, None, TypeError, "must be a tensor of integers (got NoneType)"),
        (ROWPTR, COL + 1, IndexError, "source indices in [0, 4) (got 1 to 4)"),
        (ROWPTR, COL - 1, IndexError, "source indices in [0, 4) (got -1 to 2)"),
    ],
)
def test_wrong_offsets_and_sources_are_named(rowptr, col, error, words):
    with pytest.raises(error, match=re.escape(words)):
        check_offsets(rowptr, col, 4, 3)


@pytest.mark.parametrize(
    ("batch", "got"),
    [([0, 1, 0, 2], "0 at 2"), ([-1, 0], "-1 at 0"), ([3, 2, 1], "2 at 1")],
)
def test_where_a_batch_falls_is_named(batch, got):
    message = rf"^'batch' must be sorted and non-negative \(got {got}\)$"
    with pytest.raises(ValueError, match=message):
        check_sorted(torch.tensor(batch), "batch")
    for good in ([], [0], [0, 0, 4]):
        check_sorted(torch.tensor(good, dtype=torch.long), "batch")


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_counts_may_be_those_of_numpy(kind):
    check_counts(k=kind(3))
    with pytest.raises(ValueError, match=r"^'k' must be at least 1 \(got 0\)$"):
        check_counts(k=kind(0))
    for wrong in (np.float64(3), np.bool_(True)):
        with pytest.raises(TypeError, match="^'k' must be an int"):
            check_counts(k=wrong)


def test_a_bool_is_no_number():
    with pytest.raises(TypeError, match=r"^'r' must be a float \(got True\)$"):
        check_positive(True, "r")


class OnApple(torch.Tensor):
    """Says that it is where there is no float64."""

    device = property(lambda self: torch.device("mps"))


def test_a_device_without_float64_is_named():
    x = torch.zeros(4, 3).as_subclass(OnApple)
    with pytest.raises(TypeError, match=r"^'x' must be on a device that has float64 \(got mps\)$"):
        PoincareBall().log0(x)
    with pytest.raises(TypeError, match=r"^'x' must be on a device that has float64 \(got mps\)$"):
        knn_graph(x, 2, manifold=Euclidean())
