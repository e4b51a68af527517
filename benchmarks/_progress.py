"""What a run shows while it trains: a progress bar, a line per epoch, a TensorBoard log."""

import sys
from pathlib import Path
from typing import Any

from _metrics import Score
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

_COUNT = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} "
_TIME = "[{elapsed}, ETA {remaining}, {rate_fmt}{postfix}]"


class Progress:
    """Shows and logs the epochs of a run; only the main process should show anything.

    Args:
        folder (Path): Where the TensorBoard log goes, in `tensorboard`.
        epochs (int): Epochs of the whole run.
        done (int): Epochs already done by an earlier process.
        steps (int): Steps of an epoch.
        mode (str): `auto`, `on` or `off`; `auto` refreshes rarely when there is no terminal.
        main (bool): Whether this is the main process.
    """

    def __init__(
        self, folder: Path, *, epochs: int, done: int, steps: int, mode: str, main: bool
    ) -> None:
        self.epochs = epochs
        self.lines = main and mode != "off"
        lively = mode == "on" or sys.stderr.isatty()
        self.bar = tqdm(
            total=epochs * steps,
            initial=done * steps,
            disable=not self.lines,
            mininterval=0.2 if lively else 30,
            dynamic_ncols=lively,
            unit="step",
            bar_format=_COUNT + _TIME,
        )
        self.log = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1) if main else None
        self._name(done + 1)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()
        if self.log is not None:
            self.log.close()

    def _name(self, epoch: int) -> None:
        self.bar.set_description_str(f"epoch {min(epoch, self.epochs)}/{self.epochs}", False)

    def step(self, score: Score) -> None:
        """Counts a step and shows loss and accuracy of the epoch so far."""
        if self.lines:
            loss, accuracy = score.running()
            self.bar.set_postfix_str(f"loss {loss:.3f}, acc {accuracy:.3f}", refresh=False)
            self.bar.update()

    def epoch(self, epoch: int, entry: dict[str, Any]) -> None:
        """Logs and shows the numbers of a finished epoch."""
        if self.log is not None:
            for key, value in scalars(entry).items():
                self.log.add_scalar(key, value, epoch)
            self.log.flush()
        if self.lines:
            tqdm.write(f"epoch {epoch:>3}/{self.epochs}  {describe(entry)}", sys.stderr)
        self._name(epoch + 1)


def scalars(entry: dict[str, Any]) -> dict[str, float]:
    """An epoch's numbers with nested names joined by `/`."""
    flat: dict[str, float] = {}
    for key, value in entry.items():
        nested = value.items() if isinstance(value, dict) else [("", value)]
        flat |= {f"{key}/{inner}" if inner else key: number for inner, number in nested}
    return flat


def describe(entry: dict[str, Any]) -> str:
    """One line about an epoch."""
    words = [f"loss {entry['train_loss']:.4f}", f"acc {entry['train_oa']:.4f}"]
    if "val_oa" in entry:
        words += [f"val loss {entry['val_loss']:.4f}", f"val acc {entry['val_oa']:.4f}"]
    words.append(f"{entry['train_seconds']:.1f} s")
    words.append("radii " + " ".join(f"{radius:.2f}" for radius in entry["radii"].values()))
    return "  ".join(words)
