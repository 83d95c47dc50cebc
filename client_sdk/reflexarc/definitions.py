"""Where a client's catalog comes from."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import DefinitionError, StorageError


def load_catalog(given: str | Path | bytes | Catalog | None) -> Catalog:
    """A catalog as it is, from built bytes, from a file (.json built, .yaml to build), or the shipped one for None.

    Raises DefinitionError when it is no catalog, or is YAML where the extra [build] is not installed; StorageError
    when the file cannot be read.
    """
    if isinstance(given, Catalog):
        return given
    if isinstance(given, bytes):
        return Catalog.from_bytes(given)
    if given is None:
        return Catalog.from_bytes(resources.files("reflexarc").joinpath("shipped_catalog.json").read_bytes())
    path = Path(given)
    if path.suffix in (".yaml", ".yml"):
        try:
            from reflexarc_build.reader import build_file
        except ImportError:
            raise DefinitionError(
                f"{path} is YAML, which this machine cannot build", hint="install reflexarc[build], or give a built .json"
            ) from None
        return build_file(path)
    try:
        return Catalog.from_bytes(path.read_bytes())
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from None
