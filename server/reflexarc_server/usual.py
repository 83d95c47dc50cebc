"""The usual record: a valid event in the form that devices send, recognised in the request's own bytes.

Almost every record that comes in is one, and making core values of each only to ask whether it could be done is most of
what ingest costs. The scan walks the bytes of a whole request once, before anything is decoded, compiled and without the
interpreter's lock, by a table of what may stand where. It only ever says "this one is valid, and here is what a row needs of
it"; whatever it does not know it leaves to `reflexarc_proto.wire`, which owns what is valid. Must never refuse a record, and
never accept one that the wire refuses: a property test holds the two together.

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
RECORDS_MAX: Final = 5_000
RECORDS_FIELD: Final = event_service_pb2.PushRequest.RECORDS_FIELD_NUMBER
_log = logging.getLogger(__name__)

# What the scan finds of a record. *_AT and *_END: where a text begins and ends in the request.
USUAL, START, END, SEQ, CHECK, ID_AT, ID_END, TYPE_AT, TYPE_END, KIND, SUBJECT_AT, SUBJECT_END, TIME = range(13)
_PROPERTIES, _CONTEXT, _COLUMNS = 13, 14, 15
_NOWHERE: Final = -1
_REST: Final = 64
"""More fields than so, less one, that are no records: the decoder's work, as before."""

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


def scan(raw: Any, records_field: int, form: Any, found: Any, rest: Any, ends: Any, messages: Any, seen: Any, last: Any) -> int:
    """Fill `found` with a row per record of the request `raw`, whoever wrote it; how many there were, or -1 for a request
    that is not walked: it is no message, or it has groups, more records than `found` or more other fields than `rest` has rows.

    form: [message, field, 3] of _FORM. rest: takes (count, 0), then where each field that is no record begins and ends.
    ends, messages, seen, last: room for the open messages: where each ends, which it is, its fields so far, the newest of them.
    Nobody else checks an index here: nothing is read behind the end of the message that it belongs to. Plain Python: `Scan`
    compiles it.
    """
    length = len(raw)
    position = 0
    count = 0
    rest_count = 0
    while position < length:
        begin = position
        tag = 0
        shift = 0
        while True:  # a varint, here and below
            if position == length or shift > 28:
                return -1
            byte = int(raw[position])
            position += 1
            tag |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        wire = tag & 7
        size = 0
        if wire == 1:
            size = 8
        elif wire == 5:
            size = 4
        elif wire == 0 or wire == 2:
            shift = 0
            while True:
                if position == length or shift > 63:
                    return -1
                byte = int(raw[position])
                position += 1
                if wire == 2 and shift < 35:
                    size |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            if wire == 2 and shift > 35:
                return -1
        else:
            return -1
        if size > length - position or tag < 8:
            return -1
        if wire != 2 or tag >> 3 != records_field:
            position += size
            rest_count += 1
            if rest_count == len(rest):
                return -1
            rest[rest_count, 0] = begin
            rest[rest_count, 1] = position
            continue
        if count == len(found):
            return -1
        row = found[count]
        for column in range(_COLUMNS):
            row[column] = 0
        row[USUAL] = 1
        row[START] = position
        row[END] = position + size
        count += 1
        depth = 0
        ends[0] = position + size
        messages[0] = _RECORD
        seen[0] = 0
        last[0] = 0
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
            end = ends[depth]
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
            # In the order of their numbers, each once: what is there twice, the decoder takes from the last or puts together.
            if field <= last[depth] and not (field == last[depth] and (message == _LIST or column >= _PROPERTIES)):
                row[USUAL] = 0
                break
            last[depth] = field
            wire = tag & 7
            if wire == 0 or wire == 2:
                number = 0
                shift = 0
                while position < end and shift < 63:
                    byte = int(raw[position])
                    position += 1
                    number |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                else:  # cut off, or ten bytes: a negative number, which only a number may be
                    if what != _NUMBER or wire != 0 or position == end or raw[position] > 1:
                        row[USUAL] = 0
                        break
                    position += 1
                if wire == 2 and number > end - position:
                    row[USUAL] = 0
                    break
                if what == _MESSAGE and wire == 2:
                    if column >= 0:
                        row[column] += 1
                    depth += 1
                    ends[depth] = position + number
                    messages[depth] = bound
                    seen[depth] = 0
                    last[depth] = 0
                elif what == _TEXT and wire == 2 and number <= bound:
                    if column >= 0:
                        row[column] = position
                        row[column + 1] = position + number
                    end = position + number
                    while position < end:  # UTF-8, by the table of the Unicode standard (D92)
                        byte = int(raw[position])
                        position += 1
                        if byte < 128:
                            continue
                        low = 128
                        high = 191
                        if 194 <= byte <= 223:
                            more = 1
                        elif 224 <= byte <= 239:
                            more = 2
                            if byte == 224:
                                low = 160
                            elif byte == 237:
                                high = 159
                        elif 240 <= byte <= 244:
                            more = 3
                            if byte == 240:
                                low = 144
                            elif byte == 244:
                                high = 143
                        else:
                            row[USUAL] = 0
                            break
                        if more > end - position:
                            row[USUAL] = 0
                            break
                        for _ in range(more):
                            if not low <= raw[position] <= high:
                                row[USUAL] = 0
                            position += 1
                            low = 128
                            high = 191
                elif wire == 0 and (
                    what == _NUMBER or (what == _TIME and number < TIME_MAX) or (what == _KIND and 0 < number <= _KIND_MAX)
                ):
                    if column >= 0:
                        row[column] = number
                else:
                    row[USUAL] = 0
                    break
            elif wire == 5 and what == _FIXED and end - position >= 4:
                row[column] = (
                    int(raw[position]) | int(raw[position + 1]) << 8 | int(raw[position + 2]) << 16 | int(raw[position + 3]) << 24
                )
                position += 4
            elif (
                wire == 1
                and what == _DOUBLE
                and end - position >= 8
                and not (raw[position + 7] & 127 == 127 and raw[position + 6] >= 240)
            ):
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
    rest[0, 0] = rest_count
    return count


class Scan:
    """The compiled scan, loaded on a thread of its own when a batch is large enough to be worth it; until then, and where it
    cannot be compiled, there is none and everything takes the usual road's long way round."""

    def __init__(self) -> None:
        self._scan: Callable[..., int] | None = None
        self._lock = threading.Lock()
        self.loading = False

    def records(self, content: bytes) -> tuple[list[list[int]], bytes] | None:
        """(a row per record, all that is no record) of a PushRequest's bytes; None when it is not walked, or there is no scan."""
        if self._scan is None:
            return None
        import numpy as np

        found = np.empty((RECORDS_MAX, _COLUMNS), np.int64)
        rest = np.empty((_REST, 2), np.int64)
        room = np.empty((4, _DEPTH), np.int64)
        raw = np.frombuffer(content, np.uint8)
        count = self._scan(raw, RECORDS_FIELD, _form(), found, rest, room[0], room[1], room[2], room[3])
        if count < 0:
            return None
        parts = [content[begin:end] for begin, end in rest[1 : 1 + rest[0, 0]].tolist()]
        return found[:count, :_PROPERTIES].tolist(), b"".join(parts)

    def wanted(self, count: int) -> None:
        """A batch of so many records came: have the scan loaded when it is worth it."""
        if self._scan is None and count >= WORTH_LOADING and not self.loading:
            self._begin()

    def load(self) -> None:
        """Compile it now, or read what an earlier process compiled. Where that fails it says so in the log, and stays away."""
        if self._scan is not None:
            return
        import numpy as np

        try:
            from numba import njit

            scan_compiled = njit(nogil=True, cache=True)(scan)
            nothing = np.zeros((1, _COLUMNS), np.int64)
            rest = np.zeros((_REST, 2), np.int64)
            room = np.zeros((4, _DEPTH), np.int64)
            raw = np.frombuffer(b"\x12\x00", np.uint8)
            scan_compiled(raw, RECORDS_FIELD, _form(), nothing, rest, room[0], room[1], room[2], room[3])
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
