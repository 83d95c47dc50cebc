"""What `import reflexarc` loads: the standard library and the package, nothing else."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOPS = "import json, sys; before = set(sys.modules); {}; print(json.dumps(sorted(set(sys.modules) - before)))"


def _loaded_by(statement: str) -> set[str]:
    roots = ":".join(str(ROOT / root) for root in ("client_sdk", "edge", "models", "proto", "server"))
    done = subprocess.run(
        [sys.executable, "-c", TOPS.format(statement)],
        env={"PYTHONPATH": roots}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return {module.split(".")[0] for module in json.loads(done.stdout)}


def test_import_reflexarc_loads_the_standard_library_and_the_package_only() -> None:
    assert _loaded_by("import reflexarc") - sys.stdlib_module_names == {"reflexarc"}


def test_the_client_class_needs_no_wire_code_and_no_model_runtime() -> None:
    heavy = {"grpc", "google", "numpy", "onnxruntime", "sklearn", "numba", "yaml", "click", "sqlite_utils", "re2"}
    assert _loaded_by("from reflexarc import Client") & heavy == set()


def test_the_measure_itself_sees_an_import() -> None:
    assert "grpc" in _loaded_by("import grpc")
