"""Graphs whose links are to be predicted: where they come from."""

import csv
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from _cli import UsageError, one_line
from _configurations import parents
from _data import path_name
from _unpickle import ArrayUnpickler
from torch import Generator, Tensor
from torch.nn.functional import normalize
from torch_geometric.data import Data
from torch_geometric.io import read_planetoid_data
from torch_geometric.utils import remove_self_loops, to_undirected

GENERATED = "tree"
NODES, WIDTH = 600, 8  # of the generated tree, and of its features
NOISE = 0.5  # of a node's features, where those of a child and its parent differ by about 1
#: Edges of which 5 % are one.
FEWEST = 20
#: What a pickled graph is made of.
GRAPHS = (
    ("builtins", "dict"),
    ("networkx.classes.graph", "Graph"),
    ("networkx.classes.reportviews", "NodeView"),
    ("networkx.classes.coreviews", "AdjacencyView"),
)


def load_graph(spec: str) -> Data:
    """A graph without self-loops, each edge in both directions, features of moderate size.

    Args:
        spec (str): `tree`, or a folder of the `data/` folder of HGCN (arXiv 1910.12933).
    """
    try:
        x, edge_index = generated_tree(0) if spec == GENERATED else read_folder(Path(spec))
    except Exception as error:  # damaged files raise nearly anything, from KeyError to BadZipFile
        raise UsageError(f"--data: {one_line(error)} (got {spec})") from error
    edge_index = to_undirected(remove_self_loops(edge_index)[0], num_nodes=len(x))
    if edge_index.size(1) < 2 * FEWEST:
        links = edge_index.size(1) // 2
        raise UsageError(
            f"--data: a graph of {FEWEST} edges or more is needed (got {links} in {spec})"
        )
    return Data(x=x.float(), edge_index=edge_index)


def standardised(x: Tensor) -> Tensor:
    """Every feature with mean 0 and variance 1; 0 where it is a constant."""
    x = x if x.is_floating_point() else x.double()
    if not x.isfinite().all():
        raise ValueError("features must be finite (got NaN or infinity)")
    spread = x.std(0)
    return (x - x.mean(0)) / torch.where(spread > 0, spread, 1.0)


def graph_name(spec: str) -> str:
    """What a results file calls the graph: never a path."""
    return path_name(spec)


def generated_tree(seed: int) -> tuple[Tensor, Tensor]:
    """A random recursive tree, whose features wander along its branches."""
    generator = Generator().manual_seed(seed)
    parent = parents("recursive", 1, NODES, generator)[0]
    step, noise = torch.randn(2, NODES, WIDTH, generator=generator)
    x = torch.zeros(NODES, WIDTH)
    for i in range(1, NODES):
        x[i] = x[parent[i]] + step[i] / WIDTH**0.5
    edge_index = torch.stack([parent, torch.arange(NODES)])[:, 1:]
    return standardised(x + NOISE * noise / WIDTH**0.5), edge_index


def read_folder(path: Path) -> tuple[Tensor, Tensor]:
    """Features and edges of a folder, whose layout shows in the names of its files."""
    for pattern, read in READERS.items():
        for file in sorted(path.glob(pattern)):
            return read(file)
    if path.is_dir():
        raise FileNotFoundError(f"no file like {', '.join(READERS)} in this folder")
    raise FileNotFoundError(f"no such folder, and not {GENERATED}")


def read_csv(file: Path) -> tuple[Tensor, Tensor]:
    """A line for each edge; nodes are numbered in the order in which they first appear there."""
    numbers: dict[str, int] = {}
    edges = []
    with file.open(newline="") as lines:
        for row in filter(None, csv.reader(lines)):
            if len(row) != 2:
                raise ValueError(f"{file.name} must have two nodes on each line (got {row})")
            edges.append([numbers.setdefault(node, len(numbers)) for node in row])
    x = scipy.sparse.load_npz(file.with_name(file.name.replace(".edges.csv", ".feats.npz")))
    if x.shape[0] != len(numbers):
        raise ValueError(f"{len(numbers)} nodes have edges, {x.shape[0]} have features")
    return standardised(torch.from_numpy(x.toarray())), torch.tensor(edges).t()


class GraphUnpickler(ArrayUnpickler):
    """Reads graphs of networkx too; runs nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """A graph, its views, a dict; else what makes an array."""
        if (module, name) in GRAPHS:
            return getattr(import_module(module), name)
        return super().find_class(module, name)


def read_networkx(file: Path) -> tuple[Tensor, Tensor]:
    """A pickled graph of networkx, whose nodes have features `feat`."""
    with file.open("rb") as pickled:
        graph = GraphUnpickler(pickled).load()
    numbers = {node: number for number, node in enumerate(graph.nodes)}
    x = np.array([graph.nodes[node]["feat"] for node in numbers])
    edges = [[numbers[i], numbers[j]] for i, j in graph.edges]
    return standardised(torch.from_numpy(x)), torch.tensor(edges).t()


def read_citations(file: Path) -> tuple[Tensor, Tensor]:
    """Files `ind.NAME.*` in the Planetoid layout, each paper's words in equal shares. Code in their
    pickles is run.
    """
    data = read_planetoid_data(str(file.parent), file.name.split(".")[1])
    return normalize(data.x, p=1, dim=1), data.edge_index


#: How a folder is read that holds such a file.
READERS: Mapping[str, Callable[[Path], tuple[Tensor, Tensor]]] = {
    "*.edges.csv": read_csv,
    "airport.p": read_networkx,
    "ind.*.graph": read_citations,
}
