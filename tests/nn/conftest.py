from collections.abc import Iterator

import pytest

from torch_geometric_hyperbolic import checks


@pytest.fixture
def validation() -> Iterator[None]:
    """Checks of values switched on, for one test."""
    before = checks.validation_enabled()
    checks.set_validation(True)
    yield
    checks.set_validation(before)
