"""The flags of every run that trains a network."""

import argparse
from pathlib import Path

from _cli import integer, real

DEFAULT_OUT = Path(__file__).parent / "out"


def add_run_arguments(parser: argparse.ArgumentParser, name_help: str) -> None:
    """Adds the flags that say where a run is written and how it is computed."""
    group = parser.add_argument_group("run")
    group.add_argument(
        "--out",
        type=Path,
        default=DEFAULT_OUT,
        metavar="DIR",
        help="folder for checkpoints and logs, in DIR/NAME",
    )
    group.add_argument(
        "--results", type=Path, metavar="DIR", help="folder for NAME.json (default: OUT/results)"
    )
    group.add_argument("--name", help=name_help)
    group.add_argument(
        "--seed",
        type=integer(0),
        default=0,
        help="seed of weights, shuffling, augmentation, dropout and the split",
    )
    again = group.add_mutually_exclusive_group()
    again.add_argument(
        "--resume",
        action="store_true",
        help="go on exactly from the last finished epoch; start anew if there is none",
    )
    again.add_argument(
        "--overwrite", action="store_true", help="start anew even if DIR/NAME already holds a run"
    )
    group.add_argument(
        "--device",
        default="auto",
        choices=["auto", "cpu", "cuda"],
        help="auto takes the GPU if there is one",
    )
    group.add_argument(
        "--threads",
        type=integer(1),
        metavar="N",
        help="CPU threads of one process (default: PyTorch's choice)",
    )
    group.add_argument(
        "--progress",
        default="auto",
        choices=["auto", "on", "off"],
        help="progress bar; auto refreshes it rarely when the output is no terminal",
    )
    group.add_argument(
        "--smoke",
        action="store_true",
        help="tiny data and network: the whole path in about a minute",
    )


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the optimisation."""
    group = parser.add_argument_group("training")
    group.add_argument("--epochs", type=integer(1), default=50, help="passes over the training set")
    group.add_argument(
        "--start",
        type=Path,
        metavar="FILE",
        help="checkpoint.pt of another run, whose last weights to begin with",
    )
    group.add_argument(
        "--batch-size",
        type=integer(2),  # a batch norm needs two
        default=32,
        help="samples per step and process; an incomplete last batch is dropped",
    )
    group.add_argument(
        "--eval-batch-size",
        type=integer(1),
        default=32,
        help="samples per step when evaluating (does not change the numbers)",
    )
    group.add_argument(
        "--optimizer",
        default="adamw",
        choices=["adamw", "muon"],
        help="muon: for matrices but the classifier's last, AdamW for the rest",
    )
    group.add_argument(
        "--lr",
        type=real(0, open_low=True),
        default=4e-3,
        help="highest learning rate of the schedule",
    )
    group.add_argument(
        "--schedule",
        default="onecycle",
        choices=["onecycle", "cosine", "constant"],
        help="course of the learning rate, one step per batch",
    )
    group.add_argument(
        "--weight-decay",
        type=real(0),
        default=0.05,
        help="decoupled weight decay of matrices (not of biases, norms, curvature)",
    )
    group.add_argument(
        "--label-smoothing",
        type=real(0, 1),
        default=0.1,
        help="of the cross-entropy, in training and evaluation",
    )
    group.add_argument(
        "--clip-norm",
        type=real(0),
        default=5.0,
        help="largest norm of the gradient; 0 switches clipping off",
    )
    group.add_argument(
        "--sam",
        type=real(0, open_low=True),
        metavar="RHO",
        help="sharpness-aware minimisation: gradients from weights moved by RHO up the gradient, "
        "in twice the time (default: no)",
    )
    group.add_argument(
        "--compile",
        action="store_true",
        help="run the network through torch.compile, which takes minutes to start",
    )
    group.add_argument(
        "--cuda-graph",
        type=integer(2),
        metavar="STEPS",
        help="on a GPU: record a step and replay it for the rest of STEPS steps, which is many "
        "times faster; learning rate and number of points change only then (default: no)",
    )
    group.add_argument(
        "--val-fraction",
        type=real(0, 1),
        default=0.1,
        help="share of every training class held out to choose the best epoch",
    )
    group.add_argument(
        "--split-seed",
        type=integer(0),
        metavar="SEED",
        help="seed of the split alone (default: --seed)",
    )
