"""The usual batch of a page, read, checked and written as records in one pass over the body's bytes, compiled.

Nearly every body is one: what our SDK sends, of event types and properties that the catalog declares. The interpreter would look
at each field of each event a dozen times; this looks at each byte once. Owns no meaning: it only ever says "these are the records
that `browser.event_of` and `quick.event_record` would make, byte for byte", and gives up on whatever it does not know, which
`browser` reads then. Must never refuse anything, nor take what they refuse: a property test holds the two together.

Its tables are `usual_body`'s. To import it takes a second, and much more where no earlier process has compiled it.
"""

from __future__ import annotations

from typing import Any, Final

from reflexarc_server.collect.json_tokens import (
    BACKSLASH,
    MINUS,
    NINE,
    QUOTE,
    ZERO,
    compiled,
    find,
    number_end,
    quotient,
    text_end,
    unescaped,
)

# Fields of a body and of an event, in the order in which they come when they are there; behind them how subjects begin.
KEY, SENT, ANONYMOUS_ID, KNOWN_ID, KNOWN_PROOF, BATCH, HANDED = range(7)
ID, TYPE, TIME, PROPERTIES, CONTEXT = range(7, 12)
FIELDS: Final = 12
ANONYMOUS_HEAD, KNOWN_HEAD = 12, 13
TEXT, DOUBLE, BOOL, INT = range(4)
"""Kinds of a property."""
# Columns of the tables: a text is where it begins and ends in `texts`.
SLOT_NAME, SLOT_HEAD, SLOT_KIND, SLOT_REQUIRED, SLOT_VALUES = 0, 2, 4, 5, 6
TYPE_NAME, TYPE_PART, TYPE_SLOTS, TYPE_REQUIRED = 0, 2, 4, 6
KEY_TEXT, KEY_PREFIX = 0, 2
# What is found of a body: the row of its key, then where texts begin and end in it.
KEY_ROW, ANONYMOUS_AT, KNOWN_AT, PROOF_AT = 0, 1, 3, 5
HEAD_COLUMNS: Final = 7
# Columns of what is found of an event. Its record is in `out`.
EVENT_ID, EVENT_TYPE, EVENT_TIME, RECORD = 0, 2, 3, 4
EVENT_COLUMNS: Final = 6
ID_BYTES_MAX: Final = 120
PERSON_BYTES_MAX: Final = 255
TEXT_BYTES_MAX: Final = 1_791
OFFSET_MS_MIN: Final = 1_000
NAME_BYTES_MAX: Final = 500
"""Of a name in the tables, with what stands around it."""
ROOM: Final = 2_048
"""More bytes than an event takes before its properties, or a property besides its text."""

# What may come next, and where we are.
_NAME, _NAME_OR_END, _COLON, _VALUE, _VALUE_OR_END, _NEXT, _NOTHING = range(7)
_BEFORE, _IN_BODY, _IN_BATCH, _IN_EVENT, _IN_FIELDS, _IN_HANDED = range(6)
_RECORD_HEAD: Final = 64
"""More bytes than stand before an event in its record."""
_COMMA, _COLON_SIGN = 44, 58
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = 123, 125, 91, 93


@compiled
def _varint(out: Any, at: int, number: int) -> int:
    while number > 127:
        out[at] = number & 127 | 128
        number >>= 7
        at += 1
    out[at] = number
    return at + 1


@compiled
def _varint_size(number: int) -> int:
    size = 1
    while number > 127:
        number >>= 7
        size += 1
    return size


@compiled
def _copy(out: Any, at: int, source: Any, begin: int, end: int) -> int:
    for place in range(begin, end):
        out[at] = source[place]
        at += 1
    return at


@compiled
def _corrected(time: float, sent: float, received: int) -> int:
    """As `times.corrected`."""
    if time <= 0.0:
        return received
    if sent > 0.0:
        offset = received - sent
        if offset >= OFFSET_MS_MIN or offset <= -OFFSET_MS_MIN:
            time += offset
    if time > received:
        return received
    return max(1, int(time))


@compiled
def _write_field(
    raw: Any, out: Any, at: int, texts: Any, slot: Any, field_tag: int, begin: int, end: int, escapes: int, number: int,
    behind: int, double: Any, double_bytes: Any,
) -> int:  # fmt: skip
    """Write one property behind `at`; where it ends. As `usual_event.written`."""
    kind = slot[SLOT_KIND]
    size = end - begin - escapes
    if kind == TEXT:
        held_size = 1 + _varint_size(size) + size
    elif kind == DOUBLE:
        held_size = 9
    elif kind == BOOL or number >= 0:
        held_size = 1 + _varint_size(number)
    else:
        held_size = 11
    head_size = slot[SLOT_HEAD + 1] - slot[SLOT_HEAD]
    out[at] = field_tag
    at = _varint(out, at + 1, head_size + 1 + _varint_size(held_size) + held_size)
    at = _copy(out, at, texts, slot[SLOT_HEAD], slot[SLOT_HEAD + 1])
    out[at] = 0x12
    at = _varint(out, at + 1, held_size)
    if kind == TEXT:
        out[at] = 0x0A
        at = _varint(out, at + 1, size)
        if escapes == 0:
            return _copy(out, at, raw, begin, end)
        while begin < end:
            byte = int(raw[begin])
            if byte == BACKSLASH:
                begin += 1
                byte = unescaped(int(raw[begin]))
            out[at] = byte
            begin += 1
            at += 1
        return at
    if kind == DOUBLE:
        out[at] = 0x19
        double[0] = quotient(number, behind)
        return _copy(out, at + 1, double_bytes, 0, 8)
    out[at] = 0x20 if kind == BOOL else 0x10
    at += 1
    if number >= 0:
        return _varint(out, at, number)
    for _ in range(9):  # the two's complement of 64 bits
        out[at] = number & 127 | 128
        number >>= 7
        at += 1
    out[at] = 1
    return at + 1


@compiled
def _write_event(
    raw: Any, out: Any, at: int, texts: Any, prefix: Any, fields: Any, the_type: Any, row: Any, head: Any
) -> int:  # fmt: skip
    """Write what stands in an event before its properties; where it ends."""
    out[at] = 0x0A
    at = _varint(out, at + 1, prefix[1] - prefix[0] + row[EVENT_ID + 1] - row[EVENT_ID])
    at = _copy(out, at, texts, prefix[0], prefix[1])
    at = _copy(out, at, raw, row[EVENT_ID], row[EVENT_ID + 1])
    at = _copy(out, at, texts, the_type[TYPE_PART], the_type[TYPE_PART + 1])
    who, begins = (ANONYMOUS_AT, ANONYMOUS_HEAD) if head[KNOWN_AT + 1] == head[KNOWN_AT] else (KNOWN_AT, KNOWN_HEAD)
    size = head[who + 1] - head[who]
    out[at] = 0x1A
    at = _varint(out, at + 1, fields[begins, 1] - fields[begins, 0] + _varint_size(size) + size)
    at = _copy(out, at, texts, fields[begins, 0], fields[begins, 1])
    at = _copy(out, _varint(out, at, size), raw, head[who], head[who + 1])
    out[at] = 0x20
    return _varint(out, at + 1, row[EVENT_TIME])


@compiled
def _write_record(out: Any, moment_end: int, event_at: int, event_end: int) -> int:
    """Write what stands before an event in its record, up to `event_at`; where the record begins."""
    size = event_end - event_at
    inner = moment_end + 1 + _varint_size(size) + size
    begin = event_at - (1 + _varint_size(inner) + moment_end + 1 + _varint_size(size))
    out[begin] = 0x1A
    at = _copy(out, _varint(out, begin + 1, inner), out, 0, moment_end)
    out[at] = 0x12
    _varint(out, at + 1, size)
    return begin


@compiled
def _write_moment(out: Any, received: int) -> int:
    """Write how every record of one moment begins at the front of `out`; where it ends. As `usual_event.moment_of`."""
    out[0], out[1], out[2] = 0x0A, 5 + _varint_size(received), 0x08
    at = _varint(out, 3, received)
    out[at], out[at + 1], out[at + 2], out[at + 3] = 0x10, 1, 0x18, 1
    return at + 4


@compiled
def read(
    raw: Any, received: int, texts: Any, fields: Any, keys: Any, types: Any, slots: Any, values: Any, seen: Any, double: Any,
    double_bytes: Any, head: Any, found: Any, out: Any,
) -> int:  # fmt: skip
    """The events of the body `raw`, their records in `out`: how many, or -1 for a body that is not usual.

    received: ms. texts and tables: of `usual_body`; the first row of `types` is the context. seen, double, double_bytes: room.
    """
    length = len(raw)
    moment_end = _write_moment(out, received)
    cursor = moment_end
    head[:] = 0
    head[KEY_ROW] = -1
    place, wanted = _BEFORE, _VALUE
    field = event_field = -1
    sent = time = 0.0
    count = position = event_at = type_row = slot = first_slot = last_slot = missing = field_tag = 0
    is_begun = False
    seen[:] = 0
    stamp = 0
    while True:
        while position < length and (raw[position] == 32 or 9 <= raw[position] <= 10 or raw[position] == 13):
            position += 1
        if wanted == _NOTHING:
            return count if position == length else -1
        if position == length:
            return -1
        byte = int(raw[position])
        if wanted == _COLON:
            if byte != _COLON_SIGN:
                return -1
            position += 1
            wanted = _VALUE
            continue
        if wanted == _NEXT and byte == _COMMA:
            position += 1
            wanted = _VALUE if place == _IN_BATCH else _NAME
            continue
        if byte == QUOTE and (wanted == _NAME or wanted == _NAME_OR_END):
            begin = position + 1
            end, escapes = text_end(raw, begin)
            if end < 0 or escapes > 0:
                return -1
            position = end + 1
            wanted = _COLON
            if place == _IN_BODY:  # in their order, so each once
                field = find(raw, begin, end, texts, fields, field + 1, ID)
                if field < 0:
                    return -1
            elif place == _IN_EVENT:
                event_field = find(raw, begin, end, texts, fields, event_field + 1, FIELDS)
                if event_field < 0:
                    return -1
            else:
                slot = find(raw, begin, end, texts, slots, first_slot, last_slot)
                if slot < 0 or seen[slot] == stamp:
                    return -1
                seen[slot] = stamp
                missing -= slots[slot, SLOT_REQUIRED]
            continue
        if (byte == _CLOSE or byte == _CLOSE_LIST) and (wanted == _NEXT or wanted == _NAME_OR_END or wanted == _VALUE_OR_END):
            if (byte == _CLOSE_LIST) != (place == _IN_BATCH or place == _IN_HANDED):
                return -1
            position += 1
            wanted = _NEXT
            if place == _IN_FIELDS:
                place = _IN_EVENT
            elif place == _IN_EVENT:
                if type_row == 0 or missing > 0:
                    return -1
                row = found[count]
                if not is_begun:
                    row[EVENT_TIME] = _corrected(time, sent, received)
                    prefix = keys[head[KEY_ROW], KEY_PREFIX:]
                    cursor = _write_event(raw, out, cursor, texts, prefix, fields, types[type_row], row, head)
                row[EVENT_TYPE] = type_row
                row[RECORD] = _write_record(out, moment_end, event_at, cursor)
                row[RECORD + 1] = cursor
                count += 1
                place = _IN_BATCH
            elif place == _IN_BODY:
                if head[KEY_ROW] < 0 or head[ANONYMOUS_AT + 1] == 0:
                    return -1
                wanted = _NOTHING
            else:
                place = _IN_BODY
            continue
        if wanted != _VALUE and wanted != _VALUE_OR_END:
            return -1
        if byte == _OPEN_LIST:
            if place != _IN_BODY or head[KEY_ROW] < 0 or head[ANONYMOUS_AT + 1] == 0:
                return -1
            if field == BATCH:
                place = _IN_BATCH
            elif field == HANDED:
                place = _IN_HANDED
            else:
                return -1
            position += 1
            wanted = _VALUE_OR_END
            continue
        if byte == _OPEN:
            if place == _BEFORE:
                place = _IN_BODY
            elif place == _IN_BATCH:
                if count == len(found) or cursor + ROOM > len(out):
                    return -1
                place = _IN_EVENT
                event_field = ID - 1
                type_row = missing = 0
                time = 0.0
                is_begun = False
                cursor += _RECORD_HEAD
                event_at = cursor
            elif place == _IN_EVENT and event_field >= PROPERTIES and type_row > 0:
                place = _IN_FIELDS
                if not is_begun:
                    is_begun = True
                    row = found[count]
                    row[EVENT_TIME] = _corrected(time, sent, received)
                    prefix = keys[head[KEY_ROW], KEY_PREFIX:]
                    cursor = _write_event(raw, out, cursor, texts, prefix, fields, types[type_row], row, head)
                its_slots = types[type_row if event_field == PROPERTIES else 0]
                first_slot, last_slot = its_slots[TYPE_SLOTS], its_slots[TYPE_SLOTS + 1]
                field_tag = 0x2A if event_field == PROPERTIES else 0x32
                stamp += 1
            else:
                return -1
            position += 1
            wanted = _NAME_OR_END
            continue
        # A value that opens nothing.
        kind, begin, end, escapes, number, behind = TEXT, 0, 0, 0, 0, 0
        if byte == QUOTE:
            begin = position + 1
            end, escapes = text_end(raw, begin)
            position = end + 1
        elif byte == MINUS or ZERO <= byte <= NINE:
            position, number, behind = number_end(raw, position)
            end = position
            kind = INT if behind == 0 else DOUBLE
        elif byte == 116 and length - position >= 4 and raw[position + 1] == 114 and raw[position + 2] == 117:
            kind, number, end = BOOL, 1, 0 if raw[position + 3] == 101 else -1
            position += 4
        elif byte == 102 and length - position >= 5 and raw[position + 1] == 97 and raw[position + 2] == 108:
            kind, end = BOOL, 0 if raw[position + 3] == 115 and raw[position + 4] == 101 else -1
            position += 5
        else:
            return -1
        if end < 0:
            return -1
        wanted = _NEXT
        size = end - begin
        if place == _IN_FIELDS:
            if kind == INT and slots[slot, SLOT_KIND] == DOUBLE:
                kind = DOUBLE
            if kind != slots[slot, SLOT_KIND]:
                return -1
            if kind == TEXT:
                first, last = slots[slot, SLOT_VALUES], slots[slot, SLOT_VALUES + 1]
                if size - escapes > TEXT_BYTES_MAX or cursor + size + ROOM > len(out):
                    return -1
                if first < last and (escapes > 0 or find(raw, begin, end, texts, values, first, last) < 0):
                    return -1
            elif cursor + ROOM > len(out):
                return -1
            cursor = _write_field(
                raw, out, cursor, texts, slots[slot], field_tag, begin, end, escapes, number, behind, double, double_bytes
            )
        elif escapes > 0:
            return -1
        elif place == _IN_EVENT and event_field == ID and kind == TEXT and 0 < size <= ID_BYTES_MAX:
            found[count, EVENT_ID], found[count, EVENT_ID + 1] = begin, end
            missing = -1  # an id is there
        elif place == _IN_EVENT and event_field == TYPE and kind == TEXT and missing == -1:
            type_row = find(raw, begin, end, texts, types, 1, len(types))
            if type_row < 0:
                return -1
            missing = types[type_row, TYPE_REQUIRED]
        elif place == _IN_EVENT and event_field == TIME and (kind == INT or kind == DOUBLE):
            time = quotient(number, behind)
        elif place == _IN_BODY and field == KEY and kind == TEXT:
            head[KEY_ROW] = find(raw, begin, end, texts, keys, 0, len(keys))
        elif place == _IN_BODY and field == SENT and (kind == INT or kind == DOUBLE):
            sent = quotient(number, behind)
        elif place == _IN_BODY and field == ANONYMOUS_ID and kind == TEXT and 0 < size <= PERSON_BYTES_MAX:
            head[ANONYMOUS_AT], head[ANONYMOUS_AT + 1] = begin, end
        elif place == _IN_BODY and field == KNOWN_ID and kind == TEXT and size <= PERSON_BYTES_MAX:
            head[KNOWN_AT], head[KNOWN_AT + 1] = begin, end
        elif place == _IN_BODY and field == KNOWN_PROOF and kind == TEXT:
            head[PROOF_AT], head[PROOF_AT + 1] = begin, end
        else:
            return -1
