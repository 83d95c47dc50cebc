"""The usual record: a valid event in the form that devices send, recognised in the request's own bytes.

Almost every record that comes in is one, and making core values of each only to ask whether it could be done is most of
what ingest costs. The scan walks the bytes of a whole request once, compiled and without the interpreter's lock, by a
table of what may stand where. It only ever says "this one is valid, and here is what a row needs of it"; whatever it does
not know it leaves to `reflexarc_proto.wire`, which owns what is valid. Must never refuse a record, and never accept one that the
wire refuses: a property test holds the two together.

The form: protobuf's encoding, https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from reflexarc_core.event import LIST_LENGTH_MAX, PROPERTY_COUNT_MAX, STRING_BYTES_MAX
from reflexarc_proto.v1 import event_service_pb2
from reflexarc_proto.wire.event import ID_LENGTH_MAX, SUBJECT_ID_LENGTH_MAX, TIME_MAX
from reflexarc_proto.wire.value import NAME_LENGTH_MAX

WORTH_LOADING: Final = 100
"""A batch of so many records makes it worth to load the compiled scan, which takes a second of a processor."""
RECORDS_FIELD: Final = event_service_pb2.PushRequest.RECORDS_FIELD_NUMBER
_log = logging.getLogger(__name__)

# What the scan finds of a record. *_AT and *_END: where a text begins and ends in the request.
USUAL, START, END, SEQ, CHECK, ID_AT, ID_END, TYPE_AT, TYPE_END, KIND, SUBJECT_AT, SUBJECT_END, TIME = range(13)
_PROPERTIES, _CONTEXT, _COLUMNS = 13, 14, 15
_NOWHERE: Final = -1

# Messages by number; the first is the request itself.
_REQUEST, _RECORD, _INPUT, _MOMENT, _EVENT, _SUBJECT, _ENTRY, _VALUE, _LIST, _ELEMENT = range(10)
_DEPTH: Final = 9
_FIELDS: Final = 8
# What a field may be. A number is any; a time is from 1970 on and a float64 holds it; a text has at most so many bytes.
_UNKNOWN, _NUMBER, _TIME, _KIND, _FIXED, _DOUBLE, _TEXT, _MESSAGE = range(8)
_KIND_MAX: Final = 4

_FORM: Final[dict[tuple[int, int], tuple[int, int, int]]] = {
    # (message, field): what it is, its bound or its message, the column that takes it
    (_RECORD, 1): (_TIME, 0, SEQ),
    (_RECORD, 2): (_FIXED, 0, CHECK),
    (_RECORD, 3): (_MESSAGE, _INPUT, _NOWHERE),
    (_INPUT, 1): (_MESSAGE, _MOMENT, _NOWHERE),
    (_INPUT, 2): (_MESSAGE, _EVENT, _NOWHERE),
    (_MOMENT, 1): (_TIME, 0, _NOWHERE),
    (_MOMENT, 2): (_NUMBER, 0, _NOWHERE),
    (_MOMENT, 3): (_NUMBER, 0, _NOWHERE),
    (_MOMENT, 4): (_NUMBER, 0, _NOWHERE),
    (_MOMENT, 5): (_TIME, 0, _NOWHERE),
    (_EVENT, 1): (_TEXT, ID_LENGTH_MAX, ID_AT),
    (_EVENT, 2): (_TEXT, ID_LENGTH_MAX, TYPE_AT),
    (_EVENT, 3): (_MESSAGE, _SUBJECT, _NOWHERE),
    (_EVENT, 4): (_TIME, 0, TIME),
    (_EVENT, 5): (_MESSAGE, _ENTRY, _PROPERTIES),
    (_EVENT, 6): (_MESSAGE, _ENTRY, _CONTEXT),
    (_EVENT, 7): (_TIME, 0, _NOWHERE),
    (_SUBJECT, 1): (_KIND, 0, KIND),
    (_SUBJECT, 2): (_TEXT, SUBJECT_ID_LENGTH_MAX, SUBJECT_AT),
    (_ENTRY, 1): (_TEXT, NAME_LENGTH_MAX, _NOWHERE),
    (_ENTRY, 2): (_MESSAGE, _VALUE, _NOWHERE),
    (_VALUE, 5): (_MESSAGE, _LIST, _NOWHERE),
    (_LIST, 1): (_MESSAGE, _ELEMENT, _NOWHERE),
    **{
        (message, field): form
        for message in (_VALUE, _ELEMENT)
        for field, form in {
            1: (_TEXT, STRING_BYTES_MAX, _NOWHERE),
            2: (_NUMBER, 0, _NOWHERE),
            3: (_DOUBLE, 0, _NOWHERE),
            4: (_NUMBER, 0, _NOWHERE),
        }.items()
    },
}


def scan(raw: Any, records_field: int, form: Any, found: Any, ends: Any, messages: Any, seen: Any) -> int:
    """Fill `found` with a row per record of the request `raw`, which protobuf itself wrote; how many there were, or -1 for a
    request that is not walked: protobuf keeps unknown groups as they came, and here nobody checks an index.

    form: [message, field, 3] of _FORM. ends, messages, seen: room for the open messages. Plain Python: `Scan` compiles it.
    """
    length = len(raw)
    position = 0
    count = 0
    while position < length:
        tag = 0
        shift = 0
        while True:  # a varint, here and below
            byte = int(raw[position])
            position += 1
            tag |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if tag & 7 == 1 or tag & 7 == 5:
            position += 8 if tag & 7 == 1 else 4
            continue
        if tag & 7 != 0 and tag & 7 != 2:
            return -1
        size = 0
        shift = 0
        while True:
            byte = int(raw[position])
            position += 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if tag & 7 == 0:
            continue
        if tag >> 3 != records_field:
            position += size
            continue
        if count == len(found) or size > length - position:
            return -1
        row = found[count]
        row[USUAL] = 1
        row[START] = position
        row[END] = position + size
        count += 1
        depth = 0
        ends[0] = position + size
        messages[0] = _RECORD
        seen[0] = 0
        while True:
            while depth >= 0 and position == ends[depth]:
                message = messages[depth]
                if (message in (_VALUE, _ELEMENT) and seen[depth] != 1) or (message == _ENTRY and seen[depth] != 2):
                    row[USUAL] = 0
                if message == _LIST and seen[depth] > LIST_LENGTH_MAX:
                    row[USUAL] = 0
                depth -= 1
            if depth < 0 or row[USUAL] == 0:
                break
            message = messages[depth]
            seen[depth] += 1
            tag = int(raw[position])
            position += 1
            field = tag >> 3
            if tag >= 128 or field >= _FIELDS:
                row[USUAL] = 0
                break
            what = form[message, field, 0]
            bound = form[message, field, 1]
            column = form[message, field, 2]
            wire = tag & 7
            if wire == 0 or wire == 2:
                number = 0
                shift = 0
                while True:
                    byte = int(raw[position])
                    position += 1
                    number |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                if what == _MESSAGE and wire == 2:
                    if column >= 0:
                        row[column] += 1
                    depth += 1
                    ends[depth] = position + number
                    messages[depth] = bound
                    seen[depth] = 0
                elif what == _TEXT and wire == 2 and number <= bound:
                    if column >= 0:
                        row[column] = position
                        row[column + 1] = position + number
                    position += number
                elif wire == 0 and (
                    what == _NUMBER or (what == _TIME and 0 <= number < TIME_MAX) or (what == _KIND and 0 < number <= _KIND_MAX)
                ):
                    if column >= 0:
                        row[column] = number
                else:
                    row[USUAL] = 0
                    break
            elif wire == 5 and what == _FIXED:
                row[column] = (
                    int(raw[position]) | int(raw[position + 1]) << 8 | int(raw[position + 2]) << 16 | int(raw[position + 3]) << 24
                )
                position += 4
            elif wire == 1 and what == _DOUBLE and not (raw[position + 7] & 127 == 127 and raw[position + 6] >= 240):
                position += 8  # finite: its exponent is not all ones
            else:
                row[USUAL] = 0
                break
        if (
            row[ID_END] == row[ID_AT]
            or row[TYPE_END] == row[TYPE_AT]
            or row[SUBJECT_END] == row[SUBJECT_AT]
            or row[KIND] == 0
            or row[_PROPERTIES] > PROPERTY_COUNT_MAX
            or row[_CONTEXT] > PROPERTY_COUNT_MAX
        ):
            row[USUAL] = 0
        position = row[END]
    return count


class Scan:
    """The compiled scan, loaded on a thread of its own when a batch is large enough to be worth it; until then, and where it
    cannot be compiled, there is none and everything takes the usual road's long way round."""

    def __init__(self) -> None:
        self._scan: Callable[..., int] | None = None
        self._lock = threading.Lock()
        self.loading = False

    def records(self, request: Any, count: int) -> tuple[bytes, list[list[int]]] | None:
        """(the request's bytes, a row per record) of a PushRequest with so many records; None when there is no scan yet."""
        if self._scan is None:
            if count >= WORTH_LOADING and not self.loading:
                self._begin()
            return None
        import numpy as np

        raw = request.SerializeToString()
        found = np.zeros((count, _COLUMNS), np.int64)
        room = np.zeros((3, _DEPTH), np.int64)
        walked = self._scan(np.frombuffer(raw, np.uint8), RECORDS_FIELD, _form(), found, room[0], room[1], room[2])
        return (raw, found.tolist()) if walked == count else None

    def load(self) -> None:
        """Compile it now, or read what an earlier process compiled. Where that fails it says so in the log, and stays away."""
        import numpy as np

        try:
            from numba import njit

            scan_compiled = njit(nogil=True, cache=True)(scan)
            nothing = np.zeros((1, _COLUMNS), np.int64)
            room = np.zeros((3, _DEPTH), np.int64)
            scan_compiled(np.frombuffer(b"\x12\x00", np.uint8), RECORDS_FIELD, _form(), nothing, room[0], room[1], room[2])
        except Exception:  # numba's own errors are many, and none of them may cost a record
            _log.warning("the compiled scan could not be loaded: records are read one by one", exc_info=True)
        else:
            self._scan = scan_compiled

    def _begin(self) -> None:
        with self._lock:
            if not self.loading:
                self.loading = True
                threading.Thread(target=self.load, name="reflexarc-scan", daemon=True).start()


@cache
def _form() -> Any:
    import numpy as np

    form = np.zeros((max(message for message, _ in _FORM) + 1, _FIELDS, 3), np.int64)
    for (message, field), given in _FORM.items():
        form[message, field] = given
    return form
