"""The optimizers of every benchmark, and the course of their learning rate."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR


def make_optimizers(model: nn.Module, config: Mapping[str, Any]) -> list[torch.optim.Optimizer]:
    """AdamW, which decays matrices only, not biases, norms or curvature.

    With `optimizer` "muon" it leaves all matrices but the last, the classifier's, to Muon, whose
    updates are made as long as AdamW's, so that both take one learning rate and decay: "Muon is
    Scalable for LLM Training" (arXiv 2502.16982), equation 4.
    """
    lr, decay = config["lr"], config["weight_decay"]
    parameters = [p for p in model.parameters() if p.requires_grad]
    hidden: list[Tensor] = []
    if config.get("optimizer") == "muon":
        hidden = [p for p in parameters if p.dim() == 2][:-1]
        parameters = [p for p in parameters if all(p is not own for own in hidden)]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    graph = config.get("cuda_graph") is not None
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=lr, capturable=graph)]
    if hidden:
        how = {"weight_decay": decay, "adjust_lr_fn": "match_rms_adamw"}
        optimizers.append(torch.optim.Muon(hidden, lr=lr, **how))
    return optimizers


def make_schedule(
    optimizer: torch.optim.Optimizer, name: str, lr: float, steps: int
) -> LRScheduler:
    """The course of the learning rate over `steps` batches."""
    if name == "onecycle":
        return OneCycleLR(optimizer, lr, total_steps=steps + 1, cycle_momentum=False)
    if name == "cosine":
        return CosineAnnealingLR(optimizer, steps)
    return LambdaLR(optimizer, lambda step: 1.0)
