"""Writes gradients, an evaluation, and statistics after an epoch; run by `test_distributed.py`."""

import sys
from dataclasses import replace

import torch
from _cloud_view import as_nodes
from _data import Samples
from _distributed import Process, start_process
from _models import build_dgcnn
from _training import Splits, Task, Trainer

CONFIG = {
    "manifold": "poincare",
    "curvature": 1.0,
    "learnable_curvature": True,
    "k": 4,
    "hidden_channels": (8, 8),
    "emb_channels": 16,
    "head_channels": 16,
    "dropout": 0.5,
    "aggr": "max",
    "seed": 0,
    "epochs": 1,
    "eval_batch_size": 4,
    "lr": 0.01,
    "schedule": "constant",
    "weight_decay": 0.0,
    "label_smoothing": 0.1,
    "clip_norm": 0.0,
}


def write_gradients(process: Process, path: str, batch_size: int) -> None:
    torch.manual_seed(0)
    clouds = Samples(torch.randn(18, 16, 3).double(), torch.arange(18) % 3, ["a", "b", "c"])
    model = build_dgcnn(CONFIG, 3).double()
    task = Task(
        augment=lambda x, generator, progress: x,
        view=lambda x: x,
        classify=lambda model, x: model(*as_nodes(x), batch_size=x.size(0)),
        radii=lambda model, x: {},
        embed=lambda model, x: x,
    )
    odd = replace(clouds, x=clouds.x[:7], y=clouds.y[:7])
    data = Splits(clouds, odd, odd)
    trainer = Trainer(model, task, data, CONFIG | {"batch_size": batch_size}, process)
    trainer.network.eval()  # BatchNorm and dropout are frozen
    gradients = []
    for index in trainer.batches():
        trainer.backward(index)
        gradients.append({name: p.grad.clone() for name, p in trainer.model.named_parameters()})
    score = trainer.evaluate(odd)
    trainer.train_epoch(lambda score: None)
    statistics = process.gather(dict(trainer.model.named_buffers()))
    if process.is_main:
        torch.save({"gradients": gradients, "score": score, "statistics": statistics}, path)


if __name__ == "__main__":
    process = start_process("cpu")
    write_gradients(process, sys.argv[1], int(sys.argv[2]))
    process.close()
