"""The package as others get it: what the wheel holds, and that its core needs NumPy alone."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = [
    "trainlab." + name
    for name in (
        "batches",
        "buffers",
        "callbacks",
        "checks",
        "evidence",
        "files",
        "history",
        "losses",
        "models",
        "numerics",
        "optimizers",
        "schedules",
        "sweep",
        "trainer",
        "transformer",
    )
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # From a copy: a build leaves files beside its sources, and would pack those of an older one.
    source = folder / "source"
    shutil.copytree(
        ROOT / "lib", source / "lib", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-build-isolation",
    ]
    subprocess.run(
        [*command, "--wheel-dir", str(folder), str(source)], check=True, capture_output=True
    )
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_module_and_nothing_else(wheel):
    library = ROOT / "lib"
    source = {
        path.relative_to(library).as_posix()
        for path in library.rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == source and "trainlab/losses/regression.py" in held


def test_the_core_imports_with_numpy_alone(wheel, tmp_path):
    # Of all that is installed here, the new process sees NumPy and the wheel.
    import numpy

    (tmp_path / "numpy").symlink_to(Path(numpy.__file__).parent)
    libraries = Path(numpy.__file__).parents[1] / "numpy.libs"
    if libraries.exists():
        (tmp_path / "numpy.libs").symlink_to(libraries)
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    program = f"import sys; sys.path[:0] = {[str(tmp_path), str(tmp_path / 'site')]!r}; import {', '.join(CORE)}; print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    loaded = {name.split(".")[0] for name in eval(done.stdout)}
    assert (
        not loaded & {"sklearn", "matplotlib", "joblib", "tqdm", "scipy", "pytest"}
        and "numpy" in loaded
    )
