"""The browser SDK's bundles are committed, small, and what their manifest says. `.ci/run` builds them anew and compares."""

import base64
import gzip
import hashlib
import json

import pytest

from tests.house.rooms import ROOT

FOLDER = ROOT / "server" / "reflexarc_server" / "collect" / "web"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())
GZIP_BYTES_MAX = {"reflexarc.js": 5 * 1024, "reflexarc-forms.js": 8 * 1024}


@pytest.mark.parametrize("name", GZIP_BYTES_MAX)
def test_a_bundle_is_small(name: str) -> None:
    assert len(gzip.compress((FOLDER / name).read_bytes(), 9, mtime=0)) <= GZIP_BYTES_MAX[name]


@pytest.mark.parametrize("name", GZIP_BYTES_MAX)
def test_the_manifest_names_the_bytes_that_are_there(name: str) -> None:
    digest = hashlib.sha384((FOLDER / name).read_bytes()).digest()
    assert MANIFEST["files"][name]["integrity"] == "sha384-" + base64.b64encode(digest).decode(), "run `make web`"


def test_the_first_bundle_knows_the_second_one() -> None:
    assert MANIFEST["files"]["reflexarc-forms.js"]["integrity"] in (FOLDER / "reflexarc.js").read_text(), "run `make web`"


@pytest.mark.parametrize("name", GZIP_BYTES_MAX)
def test_nothing_in_a_bundle_makes_code_or_markup_of_text(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert [
        word for word in ("eval(", "Function(", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write") if word in text
    ] == []
