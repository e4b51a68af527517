"""The weights that come with the package: `NAME.safetensors`, and `NAME.json` about them."""

import json
from pathlib import Path
from typing import Any

from torch_geometric_hyperbolic import manifolds

FOLDER = Path(__file__).parent / "pretrained"


def find_pretrained(name: str) -> tuple[dict[str, Any], Path]:
    """What is known about a network, with its manifold as an object, and the file of its weights.

    Raises:
        ValueError: if there is no such network.
    """
    names = sorted(path.stem for path in FOLDER.glob("*.json"))
    if name not in names:
        raise ValueError(f"'name' must be one of {', '.join(names)} (got {name!r})")
    about = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    space = about["model"]["manifold"]
    about["model"]["manifold"] = getattr(manifolds, space.pop("name"))(**space)
    return about, FOLDER / f"{name}.safetensors"
