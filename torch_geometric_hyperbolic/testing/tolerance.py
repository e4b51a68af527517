"""How far two computations of one number may differ."""

import torch

#: Relative and absolute tolerance per dtype: about 80 roundings of float32, 450 of float64.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}


def assert_close(actual: torch.Tensor, expected: torch.Tensor, factor: float = 1.0) -> None:
    """Raise an :class:`AssertionError` unless two tensors agree up to rounding.

    Tolerated are 1e-5 in float32 and 1e-13 in float64, relative to the largest entry, as rounding
    errors of sums are, or to 1 where that is larger.

    Args:
        actual (torch.Tensor): what was computed.
        expected (torch.Tensor): what it should be.
        factor (float, optional): multiplies the tolerance; say why where you use it.
            (default: :obj:`1.0`)

    Example:
        >>> import torch
        >>> assert_close(torch.tensor([1.0]), torch.tensor([1.0 + 1e-7]))
    """
    if expected.dtype not in TOLERANCE:  # integers, booleans
        torch.testing.assert_close(actual, expected, atol=0.0, rtol=0.0)
        return
    sizes = expected.abs()[expected.isfinite()]
    scale = max(1.0, sizes.max().item()) if sizes.numel() else 1.0
    bound = factor * TOLERANCE[expected.dtype] * scale
    torch.testing.assert_close(actual, expected, atol=bound, rtol=0.0)
