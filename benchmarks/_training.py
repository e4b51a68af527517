"""The training loop of every benchmark: epochs, evaluation, state that resumes exactly."""

import math
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from _capture import captured
from _cli import UsageError
from _data import Samples
from _distributed import Process
from _metrics import Score
from _optimizers import make_optimizers, make_schedule
from _sharpness import uphill
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy


@dataclass(frozen=True)
class Splits:
    """The samples of an experiment.

    Args:
        train (Samples): Samples to fit.
        val (Samples): Held out of the training set to choose the best epoch; may be empty.
        test (Samples): Looked at once, after the last epoch.
    """

    train: Samples
    val: Samples
    test: Samples


@dataclass(frozen=True)
class Task:
    """How samples meet a model; the loop knows nothing else about clouds or images.

    Args:
        augment (callable): From a stored batch, a generator and the share of the training that is
            done (0 to 1), to what the network sees in training.
        view (callable): Stored batch to what the network sees in evaluation.
        classify (callable): Model and batch to logits `[B, num_classes]`.
        radii (callable): Model and batch to the mean radius of the points after each layer.
        embed (callable): Model and batch to one point of `model.manifold` per sample.
    """

    augment: Callable[[Tensor, Generator, float], Tensor]
    view: Callable[[Tensor], Tensor]
    classify: Callable[[nn.Module, Tensor], Tensor]
    radii: Callable[[nn.Module, Tensor], dict[str, float]]
    embed: Callable[[nn.Module, Tensor], Tensor]


def smoothed_loss(logits: Tensor, y: Tensor, config: Mapping[str, Any]) -> Tensor:
    """Cross-entropy with the configuration's label smoothing."""
    return cross_entropy(logits, y, label_smoothing=config["label_smoothing"])


@torch.no_grad()
def evaluate(
    model: nn.Module, task: Task, samples: Samples, config: Mapping[str, Any], process: Process
) -> dict[str, Any]:
    """Scores a model on some samples, which the processes share out among them."""
    model.eval()
    score = Score(len(samples.class_names), process.device)
    own = samples[slice(process.rank, None, process.world)].to(process.device)
    size = config["eval_batch_size"]
    for x, y in zip(own.x.split(size), own.y.split(size), strict=True):
        logits = task.classify(model, task.view(x))
        score.update(logits, y, smoothed_loss(logits, y, config))
    return score.compute()


class Trainer:
    """A model, its optimisers and all randomness of its training.

    Args:
        model (torch.nn.Module): The network.
        task (Task): What it learns.
        data (Splits): From which samples.
        config (dict): `epochs`, `batch_size`, `eval_batch_size`, `optimizer`, `lr`, `schedule`,
            `weight_decay`, `label_smoothing`, `clip_norm`, `sam`, `cuda_graph` and `seed` are read.
        process (Process, optional): This process of the run. (default: the only one, on the CPU)
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        data: Splits,
        config: Mapping[str, Any],
        process: Process | None = None,
    ) -> None:
        self.process = process or Process()
        self.task, self.config = task, config
        device, world = self.process.device, self.process.world
        self.train, self.val = data.train.to(device), data.val.to(device)
        self.steps = len(data.train) // (config["batch_size"] * world)  # steps of an epoch
        if self.steps == 0:
            raise UsageError(
                f"--batch-size: {world} x {config['batch_size']} exceeds the {len(data.train)} "
                f"training samples (got {config['batch_size']})"
            )
        if config.get("cuda_graph") and config.get("sam"):
            raise UsageError(f"--sam: cannot be recorded by --cuda-graph (got {config['sam']:g})")
        if config.get("cuda_graph") and (device.type != "cuda" or world > 1):
            raise UsageError(
                f"--cuda-graph: needs one process on a GPU (got {world} on {device.type})"
            )
        if config.get("compile"):
            model.compile()
        self.network = self.process.wrap(model.to(device))
        self.model = self.process.unwrap(self.network)
        self.optimizers = make_optimizers(self.model, config)
        how = (config["schedule"], config["lr"], config["epochs"] * self.steps)
        self.schedules = [make_schedule(optimizer, *how) for optimizer in self.optimizers]
        # Shuffling is common to all processes, augmentation and dropout are each process's own.
        own = config["seed"] + 1_000_003 * (self.process.rank + 1)
        self.shuffle = Generator().manual_seed(config["seed"])
        self.augment = Generator(device).manual_seed(own)
        torch.manual_seed(own)
        self.replay: Callable[[Tensor], Any] | None = None
        self.replayable = 0  # steps until the next is recorded
        self.epoch = 0
        self.curves: dict[str, list[Any]] = {}
        self.best: dict[str, Any] | None = None

    def batches(self) -> Iterator[Tensor]:
        """One epoch's shuffled sample numbers, this process's part of every global batch."""
        order = torch.randperm(len(self.train), generator=self.shuffle).to(self.process.device)
        size = self.config["batch_size"] * self.process.world
        for step in range(self.steps):
            yield self.process.shard(order[step * size : (step + 1) * size])

    @property
    def progress(self) -> float:
        """The share of all steps that is done."""
        return self.schedules[0].last_epoch / (self.config["epochs"] * self.steps)

    def backward(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Leaves the gradient of one batch in the parameters; returns logits, labels and loss."""
        batch = self.train[index]
        x = self.task.augment(batch.x, self.augment, self.progress)
        if not self.config.get("sam"):
            return self.differentiate(x, batch.y)
        with torch.random.fork_rng([x.device] if x.is_cuda else []):
            found = self.differentiate(x, batch.y)
        with uphill(self.model, self.config["sam"]):
            self.differentiate(x, batch.y)  # with the same dropout
        return found

    def differentiate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient of the loss of `x` with labels `y`, as :meth:`backward`."""
        logits = self.task.classify(self.network, x)
        loss = smoothed_loss(logits, y, self.config)
        self.model.zero_grad()
        loss.backward()
        return logits, y, loss

    def step(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Fits one batch; returns logits, labels and loss."""
        logits, y, loss = self.backward(index)
        if self.config["clip_norm"] > 0:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config["clip_norm"])
        for optimizer in self.optimizers:
            optimizer.step()
        return logits.detach(), y, loss.detach()

    def recorded_step(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One :meth:`step` of a group of `cuda_graph`: the first is run, the second is recorded,
        and the others replay the record, with its learning rate and progress.
        """
        if self.replayable == 0:
            self.replay, self.replayable = None, self.config["cuda_graph"]
            step = self.step
        else:
            self.replay = step = self.replay or captured(self.step, index, self.augment)
        self.replayable -= 1
        return step(index)

    def train_epoch(self, on_step: Callable[[Score], None]) -> dict[str, Any]:
        """Fits one epoch; `on_step` is called after every step with the epoch's score so far."""
        self.network.train()
        score = Score(len(self.train.class_names), self.process.device)
        step = self.recorded_step if self.config.get("cuda_graph") else self.step
        for index in self.batches():
            score.update(*step(index))
            for schedule in self.schedules:
                schedule.step()
            on_step(score)
        self.process.share_buffers(self.model)
        values = score.compute()
        if not math.isfinite(values["loss"]):
            raise UsageError(
                f"--lr: the loss became {values['loss']} in epoch {self.epoch + 1}; "
                f"try a smaller rate (got {self.config['lr']:g})"
            )
        return values

    def evaluate(self, samples: Samples) -> dict[str, Any]:
        """Score of the model as it is now."""
        return evaluate(self.model, self.task, samples, self.config, self.process)

    @torch.no_grad()
    def measure_radii(self) -> dict[str, float]:
        """Mean radius of the points after each layer, on one evaluation batch."""
        self.model.eval()
        source = self.val if len(self.val) else self.train
        x = self.task.view(source.x[: self.config["eval_batch_size"]])
        return {place: float(radius) for place, radius in self.task.radii(self.model, x).items()}

    def run_epoch(self, on_step: Callable[[Score], None] = lambda score: None) -> dict[str, Any]:
        """Trains and validates one epoch, extends the curves and returns their newest entries."""
        start = perf_counter()
        rate = self.optimizers[0].param_groups[0]["lr"]
        fitted = self.train_epoch(on_step)
        trained = perf_counter()
        entry = {"train_loss": fitted["loss"], "train_oa": fitted["oa"], "lr": rate}
        if len(self.val):
            held = self.evaluate(self.val)
            entry |= {"val_loss": held["loss"], "val_oa": held["oa"], "val_macc": held["macc"]}
        entry["radii"] = self.measure_radii()
        entry["train_seconds"] = round(trained - start, 3)
        entry["eval_seconds"] = round(perf_counter() - trained, 3)
        self.epoch += 1
        for key, value in entry.items():
            self.curves.setdefault(key, []).append(value)
        if len(self.val) and (self.best is None or entry["val_oa"] > self.best["val_oa"]):
            weights = deepcopy(self.model.state_dict())
            self.best = {"epoch": self.epoch, "val_oa": entry["val_oa"], "model": weights}
        return entry

    def random_state(self) -> dict[str, Tensor]:
        """State of this process's random generators."""
        state = {
            "shuffle": self.shuffle.get_state(),
            "augment": self.augment.get_state(),
            "torch": torch.get_rng_state(),
        }
        if self.process.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.process.device)
        return state

    def state_dict(self) -> dict[str, Any]:
        """Everything a later process needs to go on exactly; to be called on every process."""
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedules": [schedule.state_dict() for schedule in self.schedules],
            "random": self.process.gather(self.random_state()),
            "curves": self.curves,
            "best": self.best,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the state of :meth:`state_dict`."""
        self.epoch, self.curves, self.best = state["epoch"], state["curves"], state["best"]
        self.model.load_state_dict(state["model"])
        for name in ("optimizers", "schedules"):
            for own, saved in zip(getattr(self, name), state[name], strict=True):
                own.load_state_dict(saved)
        random = state["random"][self.process.rank]
        self.shuffle.set_state(random["shuffle"])
        torch.set_rng_state(random["torch"])
        on_gpu = self.process.device.type == "cuda"
        if on_gpu == ("cuda" in random):  # another kind of device has other random numbers
            self.augment.set_state(random["augment"])
            if on_gpu:
                torch.cuda.set_rng_state(random["cuda"], self.process.device)
