"""Loss, overall accuracy and class-mean accuracy of one pass, summed over all processes."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix


class Score:
    """Accumulates predictions; reading it combines the processes of a distributed run.

    Args:
        num_classes (int): Number of classes.
        device (torch.device): Where predictions live.
    """

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.loss = MeanMetric(nan_strategy="disable").to(device)  # a nan must show
        self.waiting: list[tuple[Tensor, ...]] = []
        self.sums = torch.zeros(3, device=device)  # loss, right, samples of this process
        self.metrics = MetricCollection(
            {
                "oa": MulticlassAccuracy(num_classes, average="micro"),
                "confusion": MulticlassConfusionMatrix(num_classes),
            }
        ).to(device)

    def update(self, logits: Tensor, y: Tensor, loss: Tensor) -> None:
        """Adds a batch; `loss` is the mean over it."""
        parts = (logits.detach(), y, loss.detach().expand(y.shape))
        self.waiting.append(tuple(part.clone() for part in parts))

    def _count(self) -> None:
        """Takes in all batches that wait, at once: many small operations keep a GPU waiting."""
        if not self.waiting:
            return
        logits, y, loss = (torch.cat(parts) for parts in zip(*self.waiting, strict=True))
        self.waiting.clear()
        self.loss.update(loss)  # "disable" would ignore a weight
        self.metrics.update(logits, y)
        right = (logits.argmax(1) == y).sum()
        self.sums += torch.stack([loss.sum(), right, right.new_tensor(y.numel())])

    def running(self) -> tuple[float, float]:
        """Loss and accuracy so far, of this process alone (no communication)."""
        self._count()
        loss, right, samples = self.sums.tolist()
        return loss / samples, right / samples

    def compute(self) -> dict[str, Any]:
        """`loss`, `oa`, `macc` as floats and `confusion` as a nested list (rows: true class)."""
        self._count()
        values = self.metrics.compute()
        return {
            "loss": float(self.loss.compute()),
            "oa": float(values["oa"]),
            "macc": class_mean(values["confusion"]),
            "confusion": values["confusion"].tolist(),
        }


def class_mean(confusion: Tensor) -> float:
    """Mean accuracy of the classes that have samples."""
    samples = confusion.sum(1)
    right = confusion.diag()[samples > 0] / samples[samples > 0]
    return float(right.mean())
