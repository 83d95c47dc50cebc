"""A flood of small parts is seen before memory is spent on it; what anybody would send is not taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_proto.v1 import event_service_pb2 as messages
from reflexarc_proto.wire.width import LOOK_AT_BYTES, PART_BYTES_MAX, PARTS_MAX, is_too_wide


def _records(count: int, size: int = 0) -> bytes:
    request = messages.PullRequest()
    for _ in range(count):
        request.subjects.add(id="x" * size)
    return request.SerializeToString()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (_records(PARTS_MAX, 30), False), (_records(PARTS_MAX + 1, 30), True), (b"\x12\x00" * 2**21, True),
        (_records(1, PART_BYTES_MAX - 10), False), (_records(1, PART_BYTES_MAX), True), (b"\x08\x01" * LOOK_AT_BYTES, True),
        (b"\x12\x00" * (LOOK_AT_BYTES // 2 - 1), False), (b"", False),
    ],
)  # fmt: skip
def test_the_bounds_from_both_sides(content: bytes, expected: bool) -> None:
    assert is_too_wide(content) is expected


@given(st.binary(max_size=40), st.sampled_from([b"\x12\x7f", b"\xff" * 20, b"\x0d", b"\x09", b"\x07"]))
def test_what_is_no_message_is_left_to_the_decoder(start: bytes, end: bytes) -> None:
    is_too_wide(start + bytes(LOOK_AT_BYTES) + end)
    is_too_wide(b"\x0a\x04" + start + end * LOOK_AT_BYTES)
