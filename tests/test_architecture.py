"""The design's rules about who may import whom, held by reading the imports."""

import ast
import subprocess
import sys

import pytest
from conftest import ROOT

# Lowest first. A room may import what stands before it, and itself.
LAYERS = [
    "lightning_rs.checks",
    "lightning_rs.files",
    "lightning_rs.optional",
    "lightning_rs.registry",
    "lightning_rs.progress",
    "lightning_rs.bounds",
    "lightning_rs.radii",
    "lightning_rs.statistics",
    "lightning_rs.mechanisms",
    "lightning_rs.noise",
    "lightning_rs.random_state",
    "lightning_rs.smoothing",
    "lightning_rs.models",
    "lightning_rs.data",
    "lightning_rs.objectives",
    "lightning_rs.metrics",
    "lightning_rs.results",
    "lightning_rs.checkpoints",
    "lightning_rs.certification",
    "lightning_rs.audit",
    "lightning_rs.attack",
    "lightning_rs.cli",
    "lightning_rs.callbacks",
    "callbacks",
    "lightning_rs.preflight",
    "lightning_rs.certify",
    "lightning_rs.train",
    "lightning_rs.__main__",
]
WITHOUT_TORCH = LAYERS[: LAYERS.index("lightning_rs.noise")]
FILES = [*ROOT.glob("lightning_rs/**/*.py"), *ROOT.glob("callbacks/*.py")]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(module):
    return next((name for name in LAYERS if module == name or module.startswith(name + ".")), None)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_point_down(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    own = layer(module)
    if own is None:
        assert module == "lightning_rs.__init__"
        return
    for imported in imports(path):
        other = layer(imported)
        if other is not None:
            assert LAYERS.index(other) <= LAYERS.index(own), f"{module} imports {imported}"
        allowed = {
            "torch": own not in WITHOUT_TORCH,
            "pytorch_lightning": LAYERS.index(own) > LAYERS.index("lightning_rs.models"),
            "wandb": own in ("lightning_rs.results", "lightning_rs.cli"),
            "matplotlib": own == "lightning_rs.results",
        }
        assert allowed.get(imported.split(".")[0], True), f"{module} imports {imported}"


def test_every_module_has_a_place():
    known = {layer(".".join(path.relative_to(ROOT).with_suffix("").parts)) for path in FILES}
    assert known - {None} == set(LAYERS)


def test_the_core_imports_with_torch_numpy_and_scipy_alone():
    """And importing does no work: the modules of a registry are read when it is first used."""
    code = """
import sys

class OnlyTheCore:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"pytorch_lightning", "torchvision", "torchmetrics", "wandb", "matplotlib",
                                  "jsonargparse", "sklearn", "rich", "tqdm", "lightning_fabric"}:
            raise ImportError(name + " is not part of the core")

sys.meta_path.insert(0, OnlyTheCore())
import lightning_rs, lightning_rs.bounds, lightning_rs.mechanisms, lightning_rs.smoothing
import lightning_rs.radii, lightning_rs.statistics, lightning_rs.noise
assert "lightning_rs.mechanisms.kumar" not in sys.modules, "importing reads the modules of a registry"
import torch
g = lightning_rs.SmoothedClassifier(torch.nn.Linear(3, 2), 2, 0.5)
print(g.certify(torch.zeros(1, 3), n0=10, n=100)["cohen"].radius.shape)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "(1,)\n", done.stderr


def test_ruff_finds_nothing():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


ROOMS = sorted(path.parent.name for path in ROOT.glob("lightning_rs/*/__init__.py"))


def test_tests_mirror_the_files_one_to_one():
    def files(folder, prefix=""):
        return {path.stem.removeprefix(prefix) for path in folder.glob(f"{prefix}*.py")} - {"__init__"}

    for room in ROOMS:
        assert files(ROOT / "tests" / room, "test_") == files(ROOT / "lightning_rs" / room), room


def test_only_noise_draws_normal_numbers():
    drawing = ("randn", "normal_", "standard_normal", "torch.normal")
    for path in FILES:
        if path.parent.name != "noise":
            text = path.read_text()
            assert not [word for word in drawing if f"{word}(" in text.replace("kaiming_normal_(", "")], path
