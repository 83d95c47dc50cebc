"""The code that protoc writes is committed, and is what the .proto files say."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.rooms import ROOT, is_generated

PROTO = ROOT / "proto"
NEEDED = ("grpc_tools", "mypy_protobuf")


@pytest.fixture(scope="module")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    assert not missing, f"{missing} missing: these tests run with the extra [dev]"
    out = tmp_path_factory.mktemp("proto")
    files = sorted(str(path.relative_to(PROTO)) for path in (PROTO / "reflexarc_proto").rglob("*.proto"))
    bin_folder = Path(sys.executable).parent
    done = subprocess.run(
        [
            sys.executable, "-W", "ignore", "-m", "grpc_tools.protoc", "-I", ".",
            f"--plugin=protoc-gen-mypy={bin_folder / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={bin_folder / 'protoc-gen-mypy_grpc'}",
            f"--python_out={out}", f"--grpc_python_out={out}", f"--mypy_out=quiet:{out}", f"--mypy_grpc_out=quiet:{out}",
            *files,
        ],
        cwd=PROTO, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


def _texts(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted((root / "reflexarc_proto").rglob("*")):
        if path.is_file() and is_generated(path):
            proto = PROTO / path.relative_to(root).parent / (path.name.split("_pb2")[0] + ".proto")
            # A .proto without a service needs no service stubs: `make proto` removes the empty ones.
            if "_grpc" in path.name and proto.exists() and "\nservice " not in proto.read_text():
                continue
            found[str(path.relative_to(root))] = path.read_text()
    return found


def test_the_committed_code_is_what_the_proto_files_say(regenerated: Path) -> None:
    fresh, committed = _texts(regenerated), _texts(PROTO)
    assert committed, "no generated code at all"
    assert sorted(committed) == sorted(fresh), "run `make proto`"
    assert [name for name in fresh if fresh[name] != committed[name]] == [], "run `make proto`"
