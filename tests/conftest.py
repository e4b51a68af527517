"""What every test shares: the same random numbers each time."""

import pytest
import torch

from torch_geometric_hyperbolic.typing import WITH_NUMBA


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops over few numbers, as tests have them, use all threads too."""
    if WITH_NUMBA:
        monkeypatch.setattr("torch_geometric_hyperbolic.kernels._cpu.threads.FEW", 0)
