"""Graphs of link prediction are read as their files say."""

import os
import pickle
from pathlib import Path

import _link_graphs
import networkx
import numpy as np
import pytest
import scipy.sparse
import torch
from _cli import UsageError
from _link_graphs import GENERATED, NODES, WIDTH, generated_tree, graph_name, load_graph

REAL = Path(os.environ.get("TGH_DATA", Path(__file__).parents[3] / "shared" / "data")) / "hgcn"


def both_ways(*pairs):
    return sorted([*pairs, *((j, i) for i, j in pairs)])


@pytest.fixture
def small(monkeypatch):
    """Graphs may be too small to be split."""
    monkeypatch.setattr(_link_graphs, "FEWEST", 1)


def edges(graph):
    return sorted(map(tuple, graph.edge_index.t().tolist()))


def test_the_generated_tree_is_a_tree_whose_features_wander():
    graph = load_graph(GENERATED)
    assert graph.x.shape == (NODES, WIDTH)
    tree = networkx.Graph(edges(graph))
    assert networkx.is_tree(tree)
    assert tree.number_of_nodes() == NODES
    x, edge_index = generated_tree(0)
    near = (x[edge_index[0]] - x[edge_index[1]]).square().sum(1).mean()
    apart = (x[edge_index[0]] - x[edge_index[1].roll(1)]).square().sum(1).mean()
    assert near < 0.5 * apart
    assert torch.equal(graph.x, load_graph(GENERATED).x)
    assert not torch.equal(x, generated_tree(1)[0])


FEATURES = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [6.0, 5.0]])


def write_tree(folder, count=4, features=FEATURES):
    (folder / "disease_lp.edges.csv").write_text("7,3\n7,9\n9,1\n")
    x = features[:count]
    scipy.sparse.save_npz(folder / "disease_lp.feats.npz", scipy.sparse.csr_matrix(x))


def test_nodes_of_a_csv_file_are_numbered_as_they_appear(tmp_path, small):
    write_tree(tmp_path)
    graph = load_graph(str(tmp_path))
    assert edges(graph) == both_ways((0, 1), (0, 2), (2, 3))  # of 7, 3, 9, 1
    raw = torch.tensor([1.0, 2.0, 3.0, 6.0])
    torch.testing.assert_close(graph.x[:, 0], (raw - 3) / raw.std())
    assert graph.x[:, 1].tolist() == [0, 0, 0, 0]  # a constant tells nothing
    assert graph_name(str(tmp_path)) == tmp_path.name


def test_blank_lines_and_features_that_are_counted(tmp_path, small):
    write_tree(tmp_path)
    expected = load_graph(str(tmp_path))
    write_tree(tmp_path, features=FEATURES.astype(np.int64))
    (tmp_path / "disease_lp.edges.csv").write_text("7,3\n\n7,9\n9,1\n\n")
    found = load_graph(str(tmp_path))
    assert torch.equal(found.edge_index, expected.edge_index)
    torch.testing.assert_close(found.x, expected.x)


def test_a_pickled_graph_of_networkx(tmp_path, small):
    graph = networkx.Graph([("b", "a"), ("a", "c"), ("c", "c")])
    for number, node in enumerate(graph.nodes):
        graph.nodes[node]["feat"] = np.array([number, number**2], dtype=float)
    (tmp_path / "airport.p").write_bytes(pickle.dumps(graph))
    read = load_graph(str(tmp_path))
    assert edges(read) == both_ways((0, 1), (1, 2))  # of b, a, c, without the loop
    assert read.x.dtype == torch.float32
    torch.testing.assert_close(read.x[:, 0], torch.tensor([-1.0, 0.0, 1.0]))


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    (tmp_path / "airport.p").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(
        UsageError, match="--data: a pickle that asks for builtins.print is refused"
    ):
        load_graph(str(tmp_path))


def test_citations_in_planetoids_layout(tmp_path, small):
    count = 502  # PyG takes 500 papers for validation
    known = [[1, 1, 0, 0], [0, 2, 0, 0], *[[0, 0, 0, 1]] * (count - 2)]
    rows = {"x": known[:1], "allx": known, "tx": [[0, 0, 1, 3]]}
    for name, values in rows.items():
        with (tmp_path / f"ind.small.{name}").open("wb") as file:
            pickle.dump(scipy.sparse.csr_matrix(np.array(values, dtype=np.float32)), file)
    for name, values in (("y", rows["x"]), ("ally", known), ("ty", rows["tx"])):
        (tmp_path / f"ind.small.{name}").write_bytes(pickle.dumps(np.eye(2)[[0] * len(values)]))
    (tmp_path / "ind.small.graph").write_bytes(pickle.dumps({0: [1], 1: [0, count], count: [1]}))
    (tmp_path / "ind.small.test.index").write_text(f"{count}\n")
    graph = load_graph(str(tmp_path))
    assert edges(graph) == both_ways((0, 1), (1, count))
    expected = torch.tensor([[0.5, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 0.25, 0.75]])
    torch.testing.assert_close(graph.x[[0, 1, count]], expected)


@pytest.mark.parametrize(
    ("name", "nodes", "links", "features"),
    [("disease_lp", 2665, 2664, 11), ("airport", 3188, 18630, 5), ("cora", 2708, 5278, 1433)],
)
def test_the_graphs_of_hgcn(name, nodes, links, features):
    if not REAL.is_dir():
        pytest.skip("the real data is not here: set TGH_DATA")
    graph = load_graph(str(REAL / name))
    assert graph.x.shape == (nodes, features)
    assert graph.x.isfinite().all()
    assert graph.num_edges == 2 * links
    assert graph.is_undirected()
    assert not graph.has_self_loops()


def test_one_feature_alone_tells_places_in_the_disease_tree():
    """As the page of results says."""
    if not REAL.is_dir():
        pytest.skip("the real data is not here: set TGH_DATA")
    graph = load_graph(str(REAL / "disease_lp"))
    i, j = graph.edge_index
    *others, last = ((graph.x[i] - graph.x[j]).square().mean(0) / 2).tolist()  # 1 at random
    assert len(others) == 10
    assert all(0.9 < value < 1.15 for value in others)
    assert last < 1.5e-3


def test_what_is_wrong_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="--data: no such folder, and not tree \\(got nowhere\\)"):
        load_graph("nowhere")
    with pytest.raises(UsageError, match="--data: no file like \\*.edges.csv, airport.p, "):
        load_graph(str(tmp_path))
    write_tree(tmp_path)
    with pytest.raises(UsageError, match="--data: a graph of 20 edges or more .* \\(got 3 in "):
        load_graph(str(tmp_path))
    (tmp_path / "disease_lp.edges.csv").write_text("7,3,1\n7,9,1\n9,1,1\n")
    with pytest.raises(UsageError, match="--data: disease_lp.edges.csv must have two nodes on "):
        load_graph(str(tmp_path))
    write_tree(tmp_path, features=np.diag([1.0, 2.0, 3.0, np.nan]))
    with pytest.raises(UsageError, match="--data: features must be finite"):
        load_graph(str(tmp_path))
    write_tree(tmp_path, count=3)
    with pytest.raises(UsageError, match="--data: 4 nodes have edges, 3 have features \\(got "):
        load_graph(str(tmp_path))
    (tmp_path / "disease_lp.feats.npz").unlink()
    with pytest.raises(UsageError, match="No such file"):
        load_graph(str(tmp_path))
