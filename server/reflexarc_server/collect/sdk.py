"""The browser SDK's bundles, as the server hands them out.

Owns how they are named and cached. A path with the build's digest never changes and is kept for a year; a plain path is whatever
this server has, and is asked for again after CACHE_S. Must never change a byte of a bundle: pages name its digest (SRI).
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from reflexarc_server.parts import Parts
from reflexarc_server.site import Site

CACHE_S: Final = 300
FOREVER: Final = "public, max-age=31536000, immutable"
_FOLDER: Final = Path(__file__).parent / "web"
_HEADERS: Final = {
    "access-control-allow-origin": "*",
    "cross-origin-resource-policy": "cross-origin",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Bundle:
    """One file of the SDK. integrity: what a page writes into the script element's attribute of that name."""

    name: str
    body: bytes
    integrity: str


@dataclass(frozen=True, slots=True)
class Bundles:
    """What this server has. build: digest of all of it, the changing part of the paths that never change."""

    build: str
    files: dict[str, Bundle]

    def path(self, name: str) -> str:
        """Where a file stands for good: `/sdk/BUILD/NAME`."""
        return f"/sdk/{self.build}/{name}"


@functools.cache
def bundles() -> Bundles:
    """The bundles that ship with this version."""
    manifest = json.loads((_FOLDER / "manifest.json").read_text())
    files = {name: Bundle(name, (_FOLDER / name).read_bytes(), entry["integrity"]) for name, entry in manifest["files"].items()}
    return Bundles(manifest["build"], files)


def routes(parts: Parts, site: Site) -> list[BaseRoute]:
    """`/sdk/NAME`, `/sdk/BUILD/NAME`, and `/sdk/manifest.json`: each file's lasting path and integrity."""
    held = bundles()
    told = {name: {"path": held.path(name), "integrity": file.integrity} for name, file in held.files.items()}

    async def manifest(request: Request) -> Response:
        return JSONResponse({"build": held.build, "files": told}, headers=_HEADERS | {"cache-control": f"max-age={CACHE_S}"})

    async def bundle(request: Request) -> Response:
        file = held.files.get(request.path_params["name"])
        build = request.path_params.get("build", "")
        if file is None or build not in ("", held.build):
            return JSONResponse({"error": "not_found", "hint": "/sdk/manifest.json says what is here"}, 404, headers=_HEADERS)
        tag = f'"{held.build}"'
        kept = FOREVER if build else f"public, max-age={CACHE_S}"
        headers = _HEADERS | {"cache-control": kept, "etag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(file.body, headers=headers, media_type="text/javascript; charset=utf-8")

    return [
        Route("/sdk/manifest.json", manifest),
        Route("/sdk/{name}", bundle),
        Route("/sdk/{build}/{name}", bundle),
    ]
