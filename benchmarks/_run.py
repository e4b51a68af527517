"""A whole run: resume, epochs with progress and checkpoints, the one test, the record."""

import argparse
import hashlib
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from _checkpoint import load_checkpoint, save_checkpoint
from _cli import OF_A_PART, UsageError, check_same_config
from _data import Samples
from _distributed import Process
from _embedding import project
from _files import check_writable, write_json
from _models import count_parameters, curvatures
from _progress import Progress
from _record import provenance
from _training import Splits, Task, Trainer
from torch import nn
from tqdm import tqdm

#: The part of a run before a checkpoint that does not tell it.
UNTOLD = {"from_epoch": 1, "versions": None, "git": None, "device": None}


@dataclass(frozen=True)
class Run:
    """A run's name, numbers-determining configuration and files.

    Args:
        benchmark (str): Name of the script.
        name (str): Name of the run.
        config (dict): What determines its numbers, in JSON's types.
        folder (Path): Holds `checkpoint.pt` and the TensorBoard log.
        results (Path): The JSON file.
        state (dict, optional): The checkpoint to go on from.
    """

    benchmark: str
    name: str
    config: dict[str, Any]
    folder: Path
    results: Path
    state: dict[str, Any] | None = None

    @property
    def checkpoint(self) -> Path:
        """The checkpoint file."""
        return self.folder / "checkpoint.pt"

    @property
    def earlier(self) -> list[dict[str, Any]]:
        """Where the parts before the checkpoint began and what computed them."""
        return [] if self.state is None else self.state.get("parts", [UNTOLD])

    @property
    def finished(self) -> bool:
        """Whether all epochs are done and the results are written."""
        done = self.state is not None and self.state["epoch"] == self.config["epochs"]
        return done and self.results.is_file()


def open_run(args: argparse.Namespace, benchmark: str, name: str, config: dict[str, Any]) -> Run:
    """Decides what `--out`, `--name`, `--resume` and `--overwrite` mean together.

    Raises:
        UsageError: If the run exists and neither flag is given, or if the checkpoint to resume
            belongs to another configuration.
    """
    results = (args.results or args.out / "results") / f"{name}.json"
    run = Run(benchmark, name, config, args.out / name, results)
    if Path(name).name != name or name.startswith("."):
        raise UsageError(
            f"--name: must be the name of a folder, without a path or a dot before it (got {name})"
        )
    check_writable(run.checkpoint, "--out")
    check_writable(run.results, "--results")
    there = [path for path in (run.checkpoint, run.results) if path.exists()]
    if args.overwrite or not there:
        return run
    if not args.resume or there[0] != run.checkpoint:
        raise UsageError(
            f"--name: {there[0]} exists (got {name}); choose another name or --overwrite it"
            + (", or --resume" if there[0] == run.checkpoint else "")
        )
    state = load_checkpoint(run.checkpoint, benchmark)
    check_same_config(config, state["config"])
    run = Run(benchmark, name, config, run.folder, results, state)
    if not run.finished:
        check_free(results)
    return run


def check_free(results: Path) -> None:
    """Raises a `UsageError` if there is a results file although this run has not written its own:
    a run of that name in another `--out` has.
    """
    if results.exists():
        raise UsageError(
            f"--results: another run wrote {results.name}; --resume with another folder "
            f"(got {results.parent})"
        )


def execute(
    run: Run,
    build: Callable[[], nn.Module],
    task: Task,
    data: Splits,
    process: Process,
    progress: str = "auto",
) -> dict[str, Any]:
    """Trains what is left of a run, evaluates the test set once and writes the results.

    Args:
        run (Run): From :func:`open_run`.
        build (callable): Makes the model (after seeding).
        task (Task): What it learns.
        data (Splits): From which samples.
        process (Process): This process.
        progress (str, optional): `auto`, `on` or `off`. (default: :obj:`"auto"`)

    Returns:
        The record (complete on the main process).
    """
    about = provenance(process.device, process.world)  # as loaded, before files change
    samples = fingerprint(data)
    if run.state is not None and run.state.get("samples", samples) != samples:
        raise UsageError(f"--data: other samples than the checkpoint's (got {run.config['data']})")
    torch.manual_seed(run.config["seed"])
    trainer = Trainer(build(), task, data, run.config, process)
    if process.is_main:
        announce(run, trainer, data)
    if run.state is not None:
        trainer.load_state_dict(run.state)
    flags = {key: run.config.get(key) for key in OF_A_PART}
    part = {"from_epoch": trainer.epoch + 1, **flags, **about}
    train_epochs(run, trainer, samples, [*run.earlier, part], progress)
    record = {
        "benchmark": run.benchmark,
        "name": run.name,
        "config": run.config,
        "data": {
            "name": run.config["data"],
            "train": len(data.train),
            "val": len(data.val),
            "test": len(data.test),
            "class_names": list(data.test.class_names),
        },
        "parameters": count_parameters(trainer.model),
        "seed": run.config["seed"],
        **about,
        "resumed": run.earlier,
        "timing": timing(trainer),
        "radii": trainer.curves["radii"][-1],
        "curvature": curvatures(trainer.model),
        "train": training_score(trainer),
        **evaluate_test(trainer, data.test),
        "curves": trainer.curves,
    }
    if process.is_main:
        check_free(run.results)
        write_json(run.results, record)
    process.barrier()
    return record


def announce(run: Run, trainer: Trainer, data: Splits) -> None:
    """Says on one line what is about to be trained."""
    process = trainer.process
    tqdm.write(
        f"{run.name}: {run.config['manifold']}, {count_parameters(trainer.model):,} parameters, "
        f"{len(data.train)} / {len(data.val)} / {len(data.test)} samples to train / validate / test"
        f", {process.world} x {process.device.type}",
        sys.stderr,
    )


def fingerprint(data: Splits) -> str:
    """What tells other samples, labels, classes or splits of the same name."""
    digest = hashlib.sha256()
    for samples in (data.train, data.val, data.test):
        digest.update(repr((list(samples.x.shape), *samples.class_names)).encode())
        digest.update(samples.x.contiguous().numpy())
        digest.update(samples.y.contiguous().numpy())
    return digest.hexdigest()


def train_epochs(
    run: Run, trainer: Trainer, samples: str, parts: list[dict[str, Any]], mode: str
) -> None:
    """Trains to the last epoch, saving a checkpoint after each, with what computed its parts."""
    main, epochs = trainer.process.is_main, run.config["epochs"]
    if main and trainer.epoch == 0:
        run.checkpoint.unlink(missing_ok=True)
        run.results.unlink(missing_ok=True)
        shutil.rmtree(run.folder / "tensorboard", ignore_errors=True)
    if trainer.epoch == epochs:
        return
    header = {
        "benchmark": run.benchmark,
        "config": run.config,
        "class_names": list(trainer.train.class_names),
        "shape": list(trainer.train.x.shape[1:]),
        "samples": samples,
        "parts": parts,
    }
    done, steps = trainer.epoch, trainer.steps
    with Progress(
        run.folder, epochs=epochs, done=done, steps=steps, mode=mode, main=main
    ) as progress:
        while trainer.epoch < epochs:
            entry = trainer.run_epoch(progress.step)
            state = trainer.state_dict()  # gathers from all processes
            if main:
                save_checkpoint(run.checkpoint, header | state)
            progress.epoch(trainer.epoch, entry)


def timing(trainer: Trainer) -> dict[str, float]:
    """Seconds per epoch, and samples per second of training, over the whole run."""
    train, held = trainer.curves["train_seconds"], trainer.curves["eval_seconds"]
    samples = trainer.steps * trainer.config["batch_size"] * trainer.process.world
    return {
        "train_seconds_per_epoch": round(sum(train) / len(train), 3),
        "eval_seconds_per_epoch": round(sum(held) / len(held), 3),
        "total_seconds": round(sum(train) + sum(held), 1),
        "train_samples_per_second": round(samples * len(train) / max(sum(train), 1e-9), 1),
    }


def training_score(trainer: Trainer) -> dict[str, Any]:
    """Score of the last epoch on the training samples without augmentation, as the test's."""
    score = trainer.evaluate(trainer.train)
    score.pop("confusion")
    return score


def evaluate_test(trainer: Trainer, test: Samples) -> dict[str, Any]:
    """Test scores of the last and of the best epoch, confusion matrix and embedding of the last."""
    start = perf_counter()
    last = trainer.evaluate(test)
    confusion = last.pop("confusion")
    scores: dict[str, Any] = {"last": {"epoch": trainer.epoch, **last}}
    embedding = embed_all(trainer, test) if trainer.process.is_main else {}
    if trainer.best is not None:
        kept = {key: value.clone() for key, value in trainer.model.state_dict().items()}
        trainer.model.load_state_dict(trainer.best["model"])
        best = trainer.evaluate(test)
        best.pop("confusion")
        scores["best"] = {"epoch": trainer.best["epoch"], "val_oa": trainer.best["val_oa"], **best}
        trainer.model.load_state_dict(kept)
    scores["seconds"] = round(perf_counter() - start, 3)
    return {"test": scores, "confusion": confusion, "embedding": embedding}


@torch.no_grad()
def embed_all(trainer: Trainer, test: Samples) -> dict[str, Any]:
    """Drawing coordinates and labels of all test samples."""
    trainer.model.eval()
    points = [
        trainer.task.embed(trainer.model, trainer.task.view(x.to(trainer.process.device))).cpu()
        for x in test.x.split(trainer.config["eval_batch_size"])
    ]
    return {**project(trainer.model.manifold, torch.cat(points)), "y": test.y.tolist()}
