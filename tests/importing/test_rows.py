"""Framing: what a row is, and that a bad one costs itself only."""

import gzip
from pathlib import Path

import pytest

from reflexarc_cli.importing import rows
from reflexarc_cli.importing.reader import choose, read_events, read_rows
from reflexarc_cli.importing.rows import BadRow, Row, RowFormat, format_of, read_frames, read_header
from reflexarc_core.errors import DefinitionError, ReflexArcError, StorageError
from tests.importing.kit import event_types, mapping, write

CSV = RowFormat("csv", ",")
JSONL = RowFormat("jsonl", "")


def frames(path: Path, row_format: RowFormat = CSV) -> list[Row | BadRow]:
    return list(read_frames(path, row_format))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv", "a.jsonl", "a.jsonl.gz"])
def test_every_format_reads_the_same_rows(tmp_path: Path, name: str) -> None:
    text = {
        "csv": 'a,b\n1,"x\ny"\n', "tsv": 'a\tb\n1\t"x\ny"\n', "jsonl": '{"a": "1", "b": "x\\ny"}\n',
    }[name.split(".")[1]]  # fmt: skip
    path = write(tmp_path / name, text)
    assert read_header(path, format_of(path)) == ("a", "b")
    assert frames(path, format_of(path)) == [Row(1, {"a": "1", "b": "x\ny"})]


def test_a_quoted_line_break_is_inside_one_row_and_rows_are_counted_by_record(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'a,b\n1,"x\r\ny"\n\n2,z\n')
    assert frames(path) == [Row(1, {"a": "1", "b": "x\r\ny"}), Row(2, {"a": "2", "b": "z"})]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    assert read_header(write(tmp_path / "a.csv", b"\xef\xbb\xbfa,b\n1,2\n"), CSV) == ("a", "b")


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_text_is_told_by_its_name_and_how_to_make_it_narrow(tmp_path: Path, name: str, encoding: str) -> None:
    content = ('{"a": 1}\n' if name.endswith("jsonl") else "a,b\n1,ä\n").encode(encoding)
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    says = r"a\.\S+ is UTF-(16|32)\S* text, not UTF-8 \(.*iconv -f UTF-(16|32)\S* -t UTF-8 .*> utf8-a\.(csv|jsonl)\)$"
    with pytest.raises(StorageError, match=says):
        read_header(path, format_of(path))
    with pytest.raises(StorageError, match="UTF-"):
        frames(path, format_of(path))


def test_bad_bytes_and_wrong_widths_cost_their_own_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"a,b\n1,\xff\xfe\n2\n3,ok\n4,5,6\n" + "7,ä\n".encode())
    found = frames(path)
    assert [(row.number, type(row) is Row) for row in found] == [(1, False), (2, False), (3, True), (4, False), (5, True)]
    assert [row.code for row in found if isinstance(row, BadRow)] == ["encoding", "framing", "framing"]
    bad = found[0]
    assert isinstance(bad, BadRow)
    assert "\\udcff" in bad.raw
    bad.raw.encode()


def test_latin_1_is_read_as_such_when_the_mapping_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"who,when,page\n1,2020-01-01,/caf\xe9\n")
    assert next(iter(read_rows(path, mapping(encoding="iso-8859-1")))).cells["page"] == "/café"  # type: ignore[union-attr]


def test_json_lines_that_are_no_objects(tmp_path: Path) -> None:
    deep = b"[" * 100_000
    path = write(tmp_path / "a.jsonl", b'{"a": 1}\nnonsense\n[1]\n\n{"a": "\xff"}\n' + deep + b'\n{"a": 2}\n')
    found = frames(path, JSONL)
    assert [row.number for row in found if isinstance(row, Row)] == [1, 6]
    assert [row.code for row in found if isinstance(row, BadRow)] == ["framing", "framing", "encoding", "framing"]


def test_a_field_and_a_line_over_their_limits_are_bad_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.csv", "a,b\n1," + "x" * 200_000 + "\n2,ok\n")
    assert [(type(row), row.number) for row in frames(path)][-1] == (Row, 2)
    monkeypatch.setattr(rows, "LINE_CHARS_MAX", 64)
    path = write(tmp_path / "b.jsonl", '{"a": "' + "x" * 500 + '"}\n{"a": 1}\n')
    found = frames(path, JSONL)
    assert [type(row) for row in found] == [BadRow, Row]


def test_a_truncated_gzip_gives_what_it_holds_and_then_one_clear_error(tmp_path: Path) -> None:
    import random

    draw = random.Random(1)
    lines = "".join(f"{i},{draw.random()}\n" for i in range(20_000))
    whole = gzip.compress(b"a,b\n" + lines.encode())
    path = tmp_path / "a.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    found: list[Row | BadRow] = []
    with pytest.raises(StorageError, match="truncated") as caught:
        found.extend(read_frames(path, CSV))
    assert len(found) > 5_000
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv.gz", None),
        ("b.csv", b""),
        ("c.csv", b"a,a\n"),
        ("d.parquet", b"x"),
        ("e.csv", b"x\x00y,z\n1,2\n"),
        ("f.jsonl", b"3\n"),
    ],
)
def test_what_is_no_table_is_one_clear_line(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    path.write_bytes(b"no gzip" if content is None else content)
    with pytest.raises(ReflexArcError) as caught:
        choose(path, None)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_without_data(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        choose(tmp_path / "no.csv", None)
    with pytest.raises(DefinitionError, match="no shipped mapping"):
        choose(tmp_path, None)
    with pytest.raises(StorageError, match=r"orders\.csv"):
        choose(tmp_path, "orders_online_retail")
    wrong = write(tmp_path / "a.csv", "a,b\n1,2\n")
    with pytest.raises(DefinitionError, match="no column"):
        choose(wrong, "orders_online_retail")
    with pytest.raises(DefinitionError, match="simulated_shoppers reads jsonl"):
        choose(wrong, "simulated_shoppers")


def test_reading_is_streaming(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "who,when,page\n" + "u,2020-01-01T00:00:00,/\n" * 40_000)
    import tracemalloc

    tracemalloc.start()
    count = sum(1 for _ in read_events(path, mapping(), event_types()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 40_000
    assert peak < 3_000_000
