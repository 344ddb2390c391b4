"""The house rules: which room may import which, and what an import on the device brings along."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {"sdk": ROOT / "src/edgeenhance", "models": ROOT / "models", "simulation": ROOT / "simulation"}
# sdk <- models <- simulation: a room imports itself and what lies to its left.
FORBIDDEN = {
    "sdk": ("edgeenhance.models", "edgeenhance.simulation", "torch", "scipy", "pyroomacoustics"),
    "models": ("edgeenhance.simulation", "pyroomacoustics"),
    "simulation": (),
}
HEAVY = ("torch", "scipy", "pyroomacoustics", "matplotlib", "soundfile", "soxr", "tensorflow")


def imports(path: Path, package: str):
    """(name, at module level) of every import of a file; relative ones made absolute."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in tree.body) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = f"{package}.{node.module or ''}" if node.level else node.module
            yield from ((f"{base}.{alias.name}", node in tree.body) for alias in node.names)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room):
    package = "edgeenhance" if room == "sdk" else f"edgeenhance.{room}"
    for path in ROOMS[room].rglob("*.py"):
        for name, top in imports(path, package):
            late = not top and path == ROOMS["sdk"] / "cli.py"  # the command line opens the other rooms on demand
            assert late or not name.startswith(FORBIDDEN[room]), f"{path.relative_to(ROOT)} imports {name}"


def test_importing_edgeenhance_loads_nothing_heavy():
    code = f"import sys, edgeenhance; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_building_and_running_an_enhancer_loads_nothing_heavy():
    code = (
        "import sys, numpy as np, edgeenhance\n"
        "edgeenhance.Enhancer('bte-2x2', model='none').process(np.zeros((1000, 4), 'f'))\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_header_is_the_binding():
    from edgeenhance.kernel import lib

    header = (ROOT / "csrc/include/edgeenhance.h").read_text()
    for name in ("ee_enhancer_process", "ee_fft_forward", "ee_mvdr_weights", "ee_strerror"):
        assert name in header and hasattr(lib, name)
