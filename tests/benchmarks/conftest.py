"""A network and data small enough that a test of the training loop takes milliseconds."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from _data import Samples
from _training import Splits, Task, Trainer
from torch import Tensor, nn


class TinyNet(nn.Module):
    """Has what the loop could lose: BatchNorm statistics, dropout, a scalar parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.Linear(8, 3)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.head(self.body(x.flatten(1)))


def make_samples(number: int, seed: int) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(number) % 3
    x = torch.randn(number, 3, 2, generator=generator) + y.view(-1, 1, 1)
    return Samples(x, y, ["a", "b", "c"])


def stop_after(monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    """Interrupts training after some epochs."""
    original = Trainer.run_epoch

    def run_epoch(self: Trainer, *words: Any) -> Any:
        if self.epoch == epochs:
            raise KeyboardInterrupt
        return original(self, *words)

    monkeypatch.setattr(Trainer, "run_epoch", run_epoch)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """One, since these networks are tiny; undone after each test."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def splits() -> Splits:
    return Splits(make_samples(30, 0), make_samples(9, 1), make_samples(12, 2))


@pytest.fixture
def task() -> Task:
    return Task(
        augment=lambda x, g, progress: x + 0.1 * torch.randn(x.shape, generator=g),
        view=lambda x: x,
        classify=lambda model, x: model(x),
        radii=lambda model, x: {"input": float(x.norm(dim=-1).mean())},
        embed=lambda model, x: x[:, 0],
    )


@pytest.fixture
def make_net() -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        torch.manual_seed(5)
        return TinyNet()

    return make


@pytest.fixture
def config() -> dict[str, Any]:
    return {
        "seed": 3,
        "epochs": 4,
        "batch_size": 8,
        "eval_batch_size": 4,
        "lr": 0.01,
        "schedule": "onecycle",
        "weight_decay": 0.01,
        "label_smoothing": 0.1,
        "clip_norm": 1.0,
    }
