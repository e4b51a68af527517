"""Image classification by hyperbolic convolutions: train, evaluate and report.

Images are regular graphs whose pixels are points. Trains `HyperbolicImageNet` with H-Conv 0.1,
H-Conv 0.2 or hyperbolic edge convolutions on MNIST or CIFAR-10 (or, with no download, on generated
bars, discs and rings) in the Poincare ball, on the hyperboloid, or in Euclidean space as the twin
of equal size:

    python benchmarks/images.py train                              # generated data
    python benchmarks/images.py train --data mnist:mnist.npz
    python benchmarks/images.py train --data mnist:mnist.npz --manifold euclidean
    python benchmarks/images.py train --data cifar10:cifar-10-batches-py --flip --layer hconv1
    python benchmarks/images.py eval --checkpoint OUT/NAME/checkpoint.pt --data mnist.npz
    python benchmarks/images.py report OUT/results --out OUT/report

The best epoch is chosen on a validation split of the training set; the test set is evaluated once,
at the end. With `torchrun --nproc-per-node 2` in place of `python`, two processes share the work.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import _openmp  # noqa: F401 (first of all)
from _cli import UsageError
from _data import hold_out
from _image_net import add_image_net_arguments, build_image_net, check_image_net_arguments
from _image_view import ImageView, add_augmentation_arguments
from _images import GENERATED, add_image_arguments, data_name, load_images
from _models import add_manifold_arguments
from _script import Benchmark
from _training import Splits, Task


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of data, augmentation, space and network."""
    add_image_arguments(parser)
    add_augmentation_arguments(parser)
    add_manifold_arguments(parser)
    add_image_net_arguments(parser)


def load_splits(config: dict[str, Any], spec: str) -> Splits:
    """Loads the images and splits the validation set off the training set."""
    samples, test = (load_images(config, spec, train=part) for part in (True, False))
    shape = config.get("shape", list(samples.x.shape[1:]))  # `eval` knows the network's
    for x in (samples.x, test.x):
        if list(x.shape[1:]) != shape:
            raise UsageError(
                f"--data: images of {shape} are needed (got {list(x.shape[1:])} in {spec})"
            )
    return Splits(*hold_out(samples, config), test)


def make_task(config: dict[str, Any]) -> Task:
    """How images meet `HyperbolicImageNet`."""
    view = ImageView(config)
    return Task(
        augment=lambda x, generator, progress: view.augmented(x, generator),
        view=view.plain,
        classify=lambda model, x: model(x),
        radii=lambda model, x: model.radii(x),  # type: ignore[operator]
        embed=lambda model, x: model.embedding(x),  # type: ignore[operator]
    )


BENCHMARK = Benchmark(
    name="images",
    description=__doc__ or "",
    train_arguments=add_train_arguments,
    eval_arguments=lambda parser: add_image_arguments(parser, data=None),
    check=check_image_net_arguments,
    eval_config=lambda config, args: config,
    data_name=data_name,
    generated=lambda name: name == GENERATED,
    load=load_splits,
    make_task=make_task,
    build=build_image_net,
    named_by=("layer", "manifold"),
    defaults={"epochs": 10, "batch_size": 128, "eval_batch_size": 250, "lr": 1e-2},
    smoke={
        "data": GENERATED,
        "per_class": 40,
        "epochs": 2,
        "batch_size": 16,
        "channels": (8, 8),
        "shift": 1,
        "rotate": 0.0,
    },
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    return BENCHMARK.main(argv)


if __name__ == "__main__":
    sys.exit(main())
