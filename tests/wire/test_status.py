"""One status per error class, and the same class again on the other side."""

from __future__ import annotations

import grpc
import pytest

from reflexarc_core.errors import ERROR_CLASSES, ReflexArcError, TransportError
from reflexarc_proto import wire


@pytest.mark.parametrize("cls", ERROR_CLASSES)
def test_every_error_class_has_a_status_of_its_own(cls: type[ReflexArcError]) -> None:
    status = wire.status_of(cls("what happened", hint="what to do"))
    assert status is not grpc.StatusCode.UNKNOWN
    assert type(wire.error_of(status, "what happened")) is cls
    assert [wire.status_of(other("")) for other in ERROR_CLASSES].count(status) == 1


@pytest.mark.parametrize("cls", ERROR_CLASSES)
def test_the_metadata_brings_back_message_and_hint(cls: type[ReflexArcError]) -> None:
    error = wire.error_of(grpc.StatusCode.UNKNOWN, "x", wire.metadata_of(cls("geändert", hint="tu das")))
    assert type(error) is cls
    assert (error.message, error.hint) == ("geändert", "tu das")


def test_every_other_status_is_a_transport_error() -> None:
    own = {wire.status_of(cls("")) for cls in ERROR_CLASSES}
    for code in grpc.StatusCode:
        if code not in own:
            assert type(wire.error_of(code, "busy")) is TransportError


def test_a_foreign_error_is_unknown_and_broken_metadata_is_ignored() -> None:
    assert wire.status_of(ValueError()) is grpc.StatusCode.UNKNOWN
    assert type(wire.error_of(grpc.StatusCode.UNAVAILABLE, "x", ((wire.ERROR_KEY, b"\xff\xff"),))) is TransportError
