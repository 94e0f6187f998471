"""The direction of imports, and that a method brings everything that belongs to it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from contract.cases import CASES

from bertpress.methods import METHODS
from bertpress.recipe import make_recipe, parse_yaml, shipped_recipes

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "bertpress"

# From the bottom up: what stands in a file or folder may import what stands on its own line or on one before.
LAYERS = (
    (
        "errors",
        "values",
        "amounts",
        "draws",
        "schedules",
        "statistics",
        "processes",
        "fresh_process",
        "hub_card",
        "models",
    ),
    ("config", "files", "losses"),
    ("costs", "encoders", "fingerprints"),
    ("corpus",),
    ("tasks",),
    ("comparison", "engine", "predictions"),
    ("augmentation", "bounds", "budget", "measurements", "publishing", "reloading"),
    ("exports", "methods"),
    ("importing", "recipe", "reports"),
    ("runs",),
    ("opened",),
    ("advising", "checks", "export_requests"),
    ("api",),
    ("pretraining", "search_requests"),
    ("commands",),
    ("cli",),
    ("__init__", "__main__"),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# The configuration of methods stands below the engine: run and trainer know only `Training`.
CONFIGURATION = {("engine.run", "methods.method"), ("engine.trainer", "methods.method")}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(node: ast.AST) -> Iterator[str]:
    """Names that are imported at run time anywhere below `node`; of `from a import b` a.b."""
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.module is not None
            yield from (f"{'.' * child.level}{child.module}.{alias.name}" for alias in child.names)
        else:
            yield from imports(child)


def own_imports() -> Iterator[tuple[str, str]]:
    """(importing module, imported module or name), both without the package's name."""
    for name, tree in modules():
        for target in imports(tree):
            if target.startswith("bertpress."):
                yield name, target.removeprefix("bertpress.")


def test_imports_are_absolute_but_for_what_is_saved_beside_weights() -> None:
    for name, tree in modules():
        relative = [target for target in imports(tree) if target.startswith(".")]
        assert not relative or name.startswith("models."), name


def test_what_is_saved_beside_weights_needs_torch_and_transformers_only() -> None:
    for name, tree in modules():
        if name.partition(".")[0] != "models":
            continue
        for target in imports(tree):
            top = target.partition(".")[0]
            assert not top or top in {"torch", "transformers"} | sys.stdlib_module_names, f"{name} imports {target}"
            # transformers finds the files that belong to one by this form alone, in one folder
            assert top or re.fullmatch(r"\.[a-z_]+\.\w+", target), f"{name} imports {target}"


def test_every_module_has_a_place() -> None:
    tops = {name.partition(".")[0] for name, _ in modules()}
    assert tops <= set(LEVEL), f"give a level to {sorted(tops - set(LEVEL))}"


def test_imports_go_one_way() -> None:
    wrong = []
    for importer, target in own_imports():
        above, below = importer.partition(".")[0], target.partition(".")[0]
        if below not in LEVEL:  # a name of the package itself, such as __version__
            continue
        allowed = any(importer == name and target.startswith(known) for name, known in CONFIGURATION)
        if above != below and LEVEL[below] > LEVEL[above] and not allowed:
            wrong.append(f"{importer} imports {target}")
    assert not wrong


def test_no_two_modules_need_each_other() -> None:
    names = {name for name, _ in modules()}
    needs: dict[str, set[str]] = {name: set() for name in names}
    for importer, target in own_imports():
        module = target if target in names else target.rpartition(".")[0]
        if module in names - {importer}:
            needs[importer].add(module)
    tuple(TopologicalSorter(needs).static_order())  # raises, and names a circle


def test_methods_do_not_import_each_other() -> None:
    names = {method.name for method in METHODS}
    for importer, target in own_imports():
        parts, others = importer.split("."), target.split(".")
        if parts[0] == "methods" and len(parts) > 1 and parts[1] in names and others[0] == "methods":
            assert others[1] in {parts[1], "method"}, f"{importer} imports {target}"


def test_configuration_imports_no_torch_at_the_top() -> None:
    for name, tree in modules():
        parts = name.split(".")
        if parts[0] in {"config", "recipe", "schedules", "errors", "cli", "api"} or name in {
            "augmentation",
            "engine.run",
            "exports",
            "methods",
            "methods.method",
            *(f"methods.{method.name}" for method in METHODS),
        }:
            body = [node for node in tree.body if not is_type_checking(node)]
            top = ast.Module([node for node in body if isinstance(node, ast.Import | ast.ImportFrom)], [])
            heavy = {target.partition(".")[0] for target in imports(top)} & {"torch", "transformers", "datasets"}
            assert not heavy, f"{name} imports {heavy}"


@pytest.mark.parametrize(
    "module", ["bertpress", "bertpress.methods", "bertpress.recipe", "bertpress.corpus", "bertpress.api"]
)
def test_the_import_is_light(module: str) -> None:
    heavy = "{'torch', 'transformers', 'datasets'}"
    code = f"import {module}, sys; print(sorted(set(sys.modules) & {heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [method.name for method in METHODS])
def test_a_method_brings_everything(name: str) -> None:
    assert name in {case.name for case in CASES}, "an entry in tests/contract/cases.py"
    assert (ROOT / "docs" / "methods" / f"{name}.md").is_file()
    assert (ROOT / "tests" / "methods" / f"test_{name}.py").is_file()
    assert any(name in recipe for recipe in shipped_recipes().values()), "a shipped recipe"


@pytest.mark.parametrize("name", list(shipped_recipes()))
def test_a_shipped_recipe_is_valid(name: str) -> None:
    values = parse_yaml(shipped_recipes()[name], name)
    assert make_recipe({"model": "folder", "task": "pydoc", **values}).steps
