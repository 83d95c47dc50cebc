"""The rooms of the house, where they stand, and which of them may see which.

Owns the one table of layers; reads source text only and never imports what it describes.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Room:
    """folder: from the root. sees: rooms it may import. outside: other packages it may load with its modules.
    late: other packages it may load inside a function only, because a device may not have them or may never need them."""

    folder: str
    sees: frozenset[str] = frozenset()
    outside: frozenset[str] = frozenset()
    late: frozenset[str] = frozenset()


def _room(folder: str, sees: str = "", outside: str = "", late: str = "") -> Room:
    return Room(folder, frozenset(sees.split()), frozenset(outside.split()), frozenset(late.split()))


ROOMS: dict[str, Room] = {
    "reflexarc_core": _room("edge/reflexarc_core", late="re2"),
    "reflexarc_build": _room(
        "edge/reflexarc_build", "reflexarc_core reflexarc_proto", "yaml cel_expr_python google", "sqlite_utils"
    ),
    "reflexarc_edge": _room("edge/reflexarc_edge", "reflexarc_core", "msgspec", "sqlite_utils cryptography"),
    "reflexarc_models": _room("models/reflexarc_models", "reflexarc_core", late="numpy onnxruntime"),
    "reflexarc_models.train": _room(
        "models/reflexarc_models/train",
        "reflexarc_models reflexarc_core",
        "numpy numba scipy sklearn threadpoolctl skl2onnx onnx onnxruntime",
    ),
    "reflexarc_proto": _room("proto/reflexarc_proto", "reflexarc_core", "grpc google", "grpc_status"),
    "reflexarc_server": _room(
        "server/reflexarc_server",
        "reflexarc_models reflexarc_proto reflexarc_core reflexarc_build",
        "grpc google grpc_health grpc_reflection grpc_status msgspec starlette uvicorn",
        "numpy numba onnxruntime sqlite_utils re2 ua_parser email_validator phonenumbers hubspot simple_salesforce requests"
        " urllib3",
    ),
    "reflexarc": _room(
        "client_sdk/reflexarc", "reflexarc_edge reflexarc_models reflexarc_proto reflexarc_core", "grpc google msgspec"
    ),
    "reflexarc_cli": _room(
        "client_sdk/reflexarc_cli",
        "reflexarc reflexarc_server reflexarc_build reflexarc_edge reflexarc_models reflexarc_models.train reflexarc_proto"
        " reflexarc_core",
        "click rich grpc google msgspec numpy yaml cryptography",
        "sqlite_utils",
    ),
}

# Single arrows that a room has beyond its row, each with its reason; those to another room inside a function.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("client_sdk/reflexarc/definitions.py", "reflexarc_build"): "a YAML catalog, where the extra [build] is installed",
    ("models/reflexarc_models/forest_walk.py", "numba"): "compiled functions; the kernel alone imports it, where numba is",
    ("models/reflexarc_models/forest_walk.py", "numpy"): "as numba",
    (
        "server/reflexarc_server/collect/json_tokens.py",
        "numba",
    ): "compiled functions; `usual_body` alone loads them",
    ("server/reflexarc_server/trainer.py", "reflexarc_models.train"): "the server's trainer",
    ("edge/reflexarc_core/value.py", "msgspec"): "values are structs made in C; the rest of the core knows them as dataclasses",
}


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement: file and line, the module it names, and whether it stands inside a function."""

    file: Path
    line: int
    module: str
    late: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def room_of(module: str) -> str | None:
    """The room a module belongs to, None for a module of somebody else's."""
    if module == "reflexarc_models.train" or module.startswith("reflexarc_models.train."):
        return "reflexarc_models.train"
    top = module.split(".")[0]
    return top if top in ROOMS else None


def is_generated(path: Path) -> bool:
    """Whether protoc writes this file."""
    return path.name.endswith(("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi"))


def imports_in(source: str, file: Path) -> list[Import]:
    """Every import of a module's text. `from a import b` names both `a` and, where it is a room, `a.b`."""
    return list(_walk(ast.parse(source), file, late=False))


def _walk(node: ast.AST, file: Path, *, late: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(file, child.lineno, alias.name, late)
        elif isinstance(child, ast.ImportFrom):
            if child.level:
                yield Import(file, child.lineno, "." * child.level, late)
            elif child.module:
                yield Import(file, child.lineno, child.module, late)
                for alias in child.names:
                    if room_of(f"{child.module}.{alias.name}") != room_of(child.module):
                        yield Import(file, child.lineno, f"{child.module}.{alias.name}", late)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            # Never run, so it loads nothing late or early; it is an arrow between rooms all the same.
            yield from _walk(ast.Module(child.body, []), file, late=True)
            yield from _walk(ast.Module(child.orelse, []), file, late=late)
        else:
            inside = late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(child, file, late=inside)


def breach(found: Import, room: str) -> str:
    """Why this import may not stand in this room, empty when it may."""
    if found.module.startswith("."):
        return f"{found}: write the whole name, so that the arrow can be seen"
    target = room_of(found.module)
    if target is not None:
        if target == room or target in ROOMS[room].sees:
            return ""
        if (str(found.file), target) in EXCEPTIONS:
            return "" if found.late else f"{found}: allowed inside a function only"
        return f"{found}: {room} may not see {target}"
    top = found.module.split(".")[0]
    if top in sys.stdlib_module_names or top in ROOMS[room].outside or (str(found.file), top) in EXCEPTIONS:
        return ""
    if top in ROOMS[room].late:
        return "" if found.late else f"{found}: allowed inside a function only"
    return f"{found}: not among what {room} may load"


def sources(room: str) -> Iterator[Path]:
    """Hand-written modules of a room, from the root."""
    folder = ROOT / ROOMS[room].folder
    for path in sorted(folder.rglob("*.py")):
        relative = path.relative_to(ROOT)
        module = ".".join(path.relative_to(ROOT / ROOMS[room].folder.split("/")[0]).with_suffix("").parts)
        if not is_generated(path) and room_of(module.removesuffix(".__init__")) == room:
            yield relative
