"""Set up `.venv`: the pinned packages, this package (editable) and the compiled engines.

Run it through `make setup`. Standard library only, Python 3.10+. Every stage is skipped when it is
already done, so an interrupted call is resumed by the next one; once all is done a stamp named
after a hash of the inputs makes further calls return at once. `--force` ignores the stamp, to try
an engine again that did not build.
"""

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOGS = VENV / "setup-logs"
UNPACKING = VENV / ".unpacking"  # exists while pip writes: if it was killed, start afresh
ENGINES_FILE = ROOT / "requirements" / "engines.txt"
INPUTS = [
    *sorted((ROOT / "requirements").glob("*.txt")),
    ROOT / "pyproject.toml",
    ROOT / "setup.py",
    Path(__file__).resolve(),
]
HEARTBEAT = 30  # seconds between two progress lines

WITHOUT = {
    "torch-cluster": "kNN graphs use the other engines: the same, slower for large clouds in 3-d",
    "torch-scatter": "aggregations use PyTorch's own scatter operations: the same results",
}


def main() -> None:
    if sys.version_info < (3, 10):
        stop(f"Python 3.10 or newer is needed (this is {sys.version.split()[0]}): PYTHON=python3.x")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that builds are ended with us
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--force", action="store_true", help="build missing engines again")
    force = parser.parse_args().force
    digest = hashlib.sha256(str(ROOT).encode())
    for path in INPUTS:
        digest.update(path.read_bytes())
    stamp = VENV / f".setup-{digest.hexdigest()[:12]}"
    if stamp.exists() and not force:
        return
    for outdated in VENV.glob(".setup-*"):
        outdated.unlink()

    start = time.monotonic()
    create_venv()
    install_packages()
    missing = install_engines()
    stamp.touch()
    say(f"ready in {clock(time.monotonic() - start)}: {VENV.name}/")
    for engine in missing:
        say(f"without {engine}: {WITHOUT.get(engine, 'all else works')}")
    if missing:
        say("to try again: make engines")


def create_venv() -> None:
    works = PYTHON.exists() and subprocess.run([PYTHON, "-c", "import pip"]).returncode == 0
    if works and not UNPACKING.exists():
        return
    say(f"creating {VENV.name}/ with Python {sys.version.split()[0]}")
    if subprocess.run([sys.executable, "-m", "venv", "--clear", VENV]).returncode:
        stop("`python3 -m venv` failed (on Debian and Ubuntu: apt install python3-venv)")


def install_packages() -> None:
    say("installing the pinned packages (a few minutes the first time, mostly downloads)")
    UNPACKING.touch()
    failed = run({"packages": pip("install", "-r", ROOT / "requirements" / "dev.txt")})
    UNPACKING.unlink()
    if not failed:
        editable = pip("install", "--no-deps", "--no-build-isolation", "--editable", ROOT)
        failed = run({"this package": editable})
    if failed:
        stop("the set-up cannot go on without it")


def install_engines() -> list[str]:
    """Build and install the engines that cannot be imported; return those that failed."""
    lines = [line.partition("#")[0].strip() for line in ENGINES_FILE.read_text().splitlines()]
    pins = [line for line in lines if line and not importable(line)]
    if pins:
        say("building " + " and ".join(pins))
        say("  about 13 minutes on 2 cores the first time; pip's wheel cache serves the next time")
    failed = build(pins)
    # A wheel in pip's cache may have been built for another torch: pip does not know.
    stale = [pin for pin in pins if pin not in failed and not importable(pin)]
    if stale:
        say(f"{' and '.join(stale)}: cached for another torch, it seems; compiling")
    failed += build(stale, "--no-cache-dir")
    failed += [pin for pin in stale if pin not in failed and not importable(pin)]
    return [pin.partition("==")[0] for pin in failed]


def build(pins: list[str], *options: str) -> list[str]:
    """Build wheels side by side, then install them; return the pins that failed."""
    wheels = VENV / "engines"
    shutil.rmtree(wheels, ignore_errors=True)
    options = ("--no-deps", "--no-build-isolation", *options)
    failed = run({pin: pip("wheel", *options, "-w", wheels, pin) for pin in pins})
    built = sorted(wheels.glob("*.whl"))
    if built and run({"engines": pip("install", "--no-deps", "--force-reinstall", *built)}):
        failed = pins
    return failed


def importable(pin: str) -> bool:
    name, _, version = pin.partition("==")
    module = name.replace("-", "_")
    code = f"import {module}; assert {module}.__version__ == '{version}'"
    return subprocess.run([PYTHON, "-W", "ignore", "-c", code], capture_output=True).returncode == 0


def pip(*arguments: str | Path) -> list[str | Path]:
    return [PYTHON, "-m", "pip", "--disable-pip-version-check", *arguments]


def run(jobs: dict[str, list[str | Path]]) -> list[str]:
    """Run commands side by side, each into a log, with a line now and then; return the failed."""
    LOGS.mkdir(exist_ok=True)
    log = {name: LOGS / f"{name.replace(' ', '-')}.log" for name in jobs}
    running: dict[str, subprocess.Popen[bytes]] = {}
    failed = []
    start = last = time.monotonic()
    try:
        for name, command in jobs.items():
            with log[name].open("wb") as out:
                running[name] = subprocess.Popen(
                    command,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, "MAX_JOBS": "1"},  # one core per job
                    start_new_session=True,  # a group of its own, to be ended as a whole
                )
        while running:
            time.sleep(0.2)
            now = time.monotonic()
            for name, process in list(running.items()):
                if process.poll() is None:
                    continue
                del running[name]
                if process.returncode == 0:
                    say(f"  {clock(now - start)} {name}: done")
                else:
                    failed.append(name)
                    say(f"  {clock(now - start)} {name}: FAILED, the end of {log[name]}:")
                    print(*(f"      {line}" for line in tail(log[name], 15)), sep="\n", flush=True)
            if running and now - last >= HEARTBEAT:
                last = now
                for name in running:
                    say(f"  {clock(now - start)} {name}: {''.join(tail(log[name], 1))[:80]}")
    finally:
        for process in running.values():
            os.killpg(process.pid, signal.SIGTERM)
    return failed


def tail(path: Path, count: int) -> list[str]:
    lines = path.read_text(errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()][-count:]


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def say(text: str) -> None:
    print(f"[setup] {text}", flush=True)


def stop(text: str) -> NoReturn:
    say(text)
    sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        say("interrupted; `make setup` goes on from here")
        sys.exit(130)
