"""Sphinx configuration; builds offline (browsers fetch MathJax for the formulas).

The pages of `modules/` are Jinja templates: `nn_conv.rst` documents the package `nn.conv`, member
by member from its `__all__` (`_templates/members.rst`). A public class without a page, and a
public member without a docstring, are warnings, and warnings are errors.
"""

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

from jinja2 import Environment, FileSystemLoader
from sphinx.application import Sphinx
from sphinx.util import logging

import torch_geometric_hyperbolic as package

SOURCE = Path(__file__).parent
logger = logging.getLogger(__name__)

project = "torch_geometric_hyperbolic"
author = "the torch_geometric_hyperbolic authors"
project_copyright = f"2026, {author}"
version = release = package.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
nitpicky = True  # links to what this package documents; bases without a page are no links
nitpick_ignore_regex = [
    (".*", rf"(?!{package.__name__}\.).*"),
    ("py:class", r".*(\._|\.Hyperbolic).*"),
]
templates_path = ["_templates"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_title = f"{project} {release}"

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings give the types, and where a tensor lives
autosummary_generate = False
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Shapes", "Numerics", "Symmetry"]
# The examples in docstrings run with the tests (pytest --doctest-modules), those of the pages here.
doctest_test_doctest_blocks = ""

mathjax4_config = {"output": {"displayOverflow": "linebreak"}}  # long formulas are not cut off

# Bases that have pages, here or elsewhere; what a class inherits from others is on its own page.
BASES = "Manifold, Module, Aggregation, MessagePassing, Dataset, InMemoryDataset"
# What MessagePassing and Aggregation call (users call `forward`), and what Module calls.
HOOKS = (
    "aggregate, edge_update, explain_message, message, message_and_aggregate, update, "
    "extra_repr, get_extra_state, set_extra_state, geometry"
)
# What the layers call inside: no page, and no promise to users.
INTERNAL = f"{package.__name__}.kernels"


def module_of(docname: str) -> ModuleType:
    """`modules/nn_conv` documents the module `<package>.nn.conv`."""
    return importlib.import_module(f"{package.__name__}.{Path(docname).stem.replace('_', '.')}")


def public(module: ModuleType) -> list[str]:
    """The names in `__all__`, or what the module itself defines without an underscore."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    ]


def import_path(module: ModuleType) -> str:
    """Where users import a module's names from, and pages refer to them: all layers from `nn`."""
    layers = f"{package.__name__}.nn"
    return layers if module.__name__.startswith(f"{layers}.") else module.__name__


def members(module: ModuleType) -> list[dict[str, Any]]:
    """Name, kind and object of every public member, in order."""
    found = []
    for name in public(module):
        value = getattr(module, name)
        kind = (
            "module" if inspect.ismodule(value)
            else "exception" if inspect.isclass(value) and issubclass(value, Exception)
            else "class" if inspect.isclass(value)
            else "function" if callable(value)
            else "data"
        )  # fmt: skip
        if kind != "data" and inspect.getdoc(value) in (None, "", inspect.getdoc(type(value))):
            logger.warning("%s.%s has no docstring", module.__name__, name)
        found.append({"name": name, "kind": kind, "value": value})
    return found


def render(app: Sphinx, docname: str, content: list[str]) -> None:
    """Fill in the templates of `modules/`."""
    if not docname.startswith("modules/"):
        return
    environment = Environment(
        loader=FileSystemLoader(SOURCE / "_templates"), trim_blocks=True, lstrip_blocks=True
    )
    content[0] = environment.from_string(content[0]).render(
        module=module_of(docname),
        members=members,
        import_path=import_path,
        bases=BASES,
        hooks=HOOKS,
    )


def check_pages(app: Sphinx) -> None:
    """Warn of public names that no page of `modules/` shows."""
    shown = {
        id(member["value"])
        for page in (SOURCE / "modules").glob("*.rst")
        for member in members(module_of(page.stem))
    }
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not info.ispkg or "._" in info.name or info.name.startswith(INTERNAL):
            continue
        module = importlib.import_module(info.name)
        for name in public(module):
            value = getattr(module, name)
            if not inspect.ismodule(value) and id(value) not in shown:
                logger.warning("%s.%s is public but on no page of modules/", info.name, name)


def setup(app: Sphinx) -> None:
    """Hook the above into the build."""
    app.connect("source-read", render)
    app.connect("builder-inited", check_pages)
