"""`reflexarc evaluate`: figures that hold together, and one clear line for whatever cannot be evaluated."""

from __future__ import annotations

import gzip
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc_cli.evaluating.svg import ticks
from reflexarc_cli.evaluating.table import read_table
from reflexarc_cli.main import main
from reflexarc_core.aggregation import DAY_MS
from reflexarc_core.errors import ReflexArcError
from tests.cli.kit import environment

MAPPING = """
columns: [who, what, at, amount]
subject: who
time: {column: at, format: epoch_ms}
event_id: none
event_type: {column: what, values: {view: page_view, buy: purchase}}
properties:
  page_view: {page_url: what}
  purchase: {amount: amount}
"""
T0 = 1_700_000_000_000 // DAY_MS * DAY_MS


class Said:
    """How the command ended, and what it said on both ways."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err
        self.last = err.strip().splitlines()[-1] if err.strip() else ""


def evaluate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> Said:
    monkeypatch.setattr(sys, "argv", ["reflexarc", "evaluate", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out
    return Said(int(ended.value.code or 0), said.out, said.err)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda *words: evaluate(capsys, monkeypatch, *words)


def table(folder: Path, rows: int = 900, name: str = "people.csv", **more: list[str]) -> Path:
    random = np.random.default_rng(11)
    plan, spend = random.integers(0, 3, rows), np.round(random.gamma(2.0, 50.0, rows), 2)
    odds = 1 / (1 + np.exp(-(plan - 1.2 + (spend - 100) / 50)))
    columns = {
        "customer_id": [f"C{i:05}" for i in range(rows)],
        "plan": [("basic", "plus", "gold")[k] if i > 3 else "rare" for i, k in enumerate(plan)],
        "spend": ["" if i % 40 == 0 else str(s) for i, s in enumerate(spend)],
        "active": [("true", "false")[i % 2] for i in range(rows)],
        "since": [f"2024-{1 + i % 12:02}-01" for i in range(rows)],
        "constant": ["x"] * rows,
        "empty": ["NaN"] * rows,
        "churned": [("No", "Yes")[int(hit)] for hit in random.random(rows) < odds],
        **more,
    }
    path = folder / name
    lines = [",".join(columns), *(",".join(cells) for cells in zip(*columns.values(), strict=True))]
    text = "\n".join(lines) + "\n"
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def events(folder: Path, subjects: int = 420, days: int = 60, seed: int = 5) -> tuple[Path, Path]:
    random = np.random.default_rng(seed)
    lines = []
    for person in range(subjects):
        rate = random.gamma(1.0, 0.25) + 0.02
        leaves = random.exponential(40.0)
        at = random.random() * 20
        while at < days and at < leaves + 10:
            bought = random.random() < 0.3
            lines.append(f"u{person},{'buy' if bought else 'view'},{int(T0 + at * DAY_MS)},{random.gamma(2, 9):.2f}")
            at += random.exponential(1 / rate)
    lines.append(f"u0,view,{T0 + days * DAY_MS},")
    random.shuffle(lines)  # a file need not be in order
    file, mapping = folder / "log.csv", folder / "map.yaml"
    file.write_text("who,what,at,amount\n" + "\n".join(lines) + "\n")
    mapping.write_text(MAPPING)
    return file, mapping


def check(figures: dict[str, Any]) -> None:
    """What must hold of every evaluation."""
    assert figures["auc_low"] <= figures["auc"] <= figures["auc_high"]
    assert 0 < figures["positives"] < figures["rows"]
    assert figures["brier"] <= figures["brier_base_rate"] + 0.02
    assert 0 <= figures["ece"] <= 0.25
    assert sum(one["rows"] for one in figures["calibration"]) == figures["rows"]
    assert figures["baselines"]["majority"]["auc"] == 0.5
    student = figures["student"]
    assert student["auc_loss_low"] <= student["auc_loss"] <= student["auc_loss_high"]
    assert abs(student["auc"] + student["auc_loss"] - figures["auc"]) < 1e-4
    assert 0 < student["p50_us"] <= student["p99_us"]
    for one in figures["lines"]:
        assert one["score_and_confidence"]["flagged"] <= one["score"]["flagged"]
        assert one["student"]["flips"] == one["student"]["flips_to_flagged"] + one["student"]["flips_to_silent"]
        assert one["student"]["flips_near"] <= min(one["student"]["flips"], one["student"]["rows_near"])
        assert (one["score"]["precision"] is None) == (one["score"]["flagged"] == 0)
    assert figures["seconds"] > 0
    assert figures["peak_mb"] > 10


def test_a_table_of_anything(run: Any, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    said = run("churn", "--table", table(tmp_path, name="people.csv.gz"), "--label", "churned", "--json", "--report", page)
    assert said.status == 0, said.err
    figures = json.loads(said.out)
    check(figures)
    assert figures["rows"] == 900
    assert len(figures["auc_parts"]) == 5
    assert figures["auc"] > 0.72
    assert figures["data"]["positive"] == "Yes"
    left_out = " ".join(figures["warnings"])
    assert all(f"left out: {name}" in left_out for name in ("customer_id", "constant", "empty"))
    assert set(figures["inputs"]) <= {"plan", "spend", "active", "since.day", "since.weekday", "since.hour"}
    assert figures["baselines"]["best_input"]["auc"] < figures["auc"] + 0.02
    check_page(page.read_text(), figures)
    assert str(tmp_path) not in page.read_text()  # where somebody keeps a file is nobody's business
    assert "C00001" not in page.read_text()


def check_page(text: str, figures: dict[str, Any]) -> None:
    """One page that needs nothing else, with charts that can be drawn and the figures of `--json`."""
    assert "<script" not in text
    assert not re.search(r"(?:src|href|url)\s*[=(]", text)
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}
    charts = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(charts) >= 7 + min(8, len(figures["inputs"])) - 4
    for chart in charts:
        root = ElementTree.fromstring(chart)
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for line in root.iter("{http://www.w3.org/2000/svg}polyline"):
            for point in line.attrib["points"].split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= width and 0 <= y <= height
    for shown in (f"{figures['auc']:.3f}", f"{figures['student']['bytes']:,} bytes", f"{figures['rows']:,}"):
        assert shown in text
    assert all(name in text for name in figures["inputs"])


def test_a_log_of_events(run: Any, tmp_path: Path) -> None:
    file, mapping = events(tmp_path)
    words = ("--events", file, "--map", mapping, "--cut", "2023-12-24", "--horizon", "10d")
    said = run("churn", *words, "--json")
    assert said.status == 0, said.err
    figures = json.loads(said.out)
    check(figures)
    assert figures["auc"] > figures["baselines"]["recency"]["auc"] - 0.03
    assert figures["rows"] <= 420
    assert "recency" in figures["baselines"] and "frequency" in figures["baselines"]
    bought = run("purchase_intent", *words)
    assert bought.status == 0, bought.err
    assert "gradient boosting" in bought.out
    assert "who ranks" in bought.out and "bytes to download" in bought.out


BAD_WORDS = {
    "no words": ((), "what is to be evaluated?"),
    "both": (("--table", "F", "--events", "F"), "what is to be evaluated?"),
    "no label": (("--table", "F"), "which column is the label?"),
    "a strange option": (("--table", "F", "--label", "churned", "--cut", "2020-01-01"), "--cut does not go with --table"),
    "no such label": (("--table", "F", "--label", "churn"), "has no column 'churn' for --label"),
    "no such drop": (("--table", "F", "--label", "churned", "--drop", "plan,plam"), "has no column 'plam' for --drop"),
    "label dropped": (("--table", "F", "--label", "churned", "--drop", "churned"), "is the label and cannot be"),
    "label as time": (("--table", "F", "--label", "churned", "--time", "churned"), "is the label and cannot be"),
    "no such value": (("--table", "F", "--label", "churned", "--positive", "Maybe"), "no row has 'Maybe' in churned"),
    "a label of many values": (("--table", "F", "--label", "plan"), "say which one counts with --positive"),
    "an unclear label": (("--table", "F", "--label", "unclear"), "which one is positive?"),
    "no times": (("--table", "F", "--label", "churned", "--time", "plan"), "plan holds no times"),
    "one label only": (("--table", "F", "--label", "constant"), "has the same label"),
    "an empty label": (("--table", "F", "--label", "empty"), "empty is empty in every row"),
    "nothing left": (
        ("--table", "F", "--label", "churned", "--drop", "customer_id,plan,spend,active,since,constant,empty,unclear,one"),
        "no column is left to learn from",
    ),
    "only what says nothing": (
        ("--table", "F", "--label", "churned", "--drop", "plan,spend,active,since,unclear"), "no column can be an input",
    ),
    "one time": (("--table", "F", "--label", "churned", "--time", "one"), "one is the same in every row"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "reason"), BAD_WORDS.values(), ids=BAD_WORDS)
def test_words_that_cannot_be_meant(run: Any, tmp_path: Path, words: tuple[str, ...], reason: str) -> None:
    rows = 300
    file = table(tmp_path, rows, unclear=[("red", "blue")[i % 2] for i in range(rows)], one=["7"] * rows)
    said = run("churn", *(str(file) if word == "F" else word for word in words))
    assert said.status in (1, 2), said.err
    assert said.last.startswith("reflexarc: ")
    assert reason in said.last
    assert said.out == ""


BAD_FILES = {
    "not there": ("no.csv", None, "cannot be read"),
    "no table's name": ("a.parquet", b"PAR1", "is of no known format"),
    "empty": ("a.csv", b"", "is empty"),
    "only a header": ("a.csv", b"a,churned\n", "holds no row under its header"),
    "ten rows": ("a.csv", b"a,churned\n" + b"1,Yes\n2,No\n" * 5, "at least 200"),
    "columns twice": ("a.csv", b"a,a,churned\n1,2,Yes\n", "names a twice"),
    "no rows that fit": ("a.csv", b"a,churned\n" + b"1,2,3\n" * 300, "holds no row under its header"),
    "binary": ("a.csv", bytes(range(256)) * 40, ""),
    "no gzip": ("a.csv.gz", b"a,churned\n1,Yes\n", "is damaged"),
    "a torn gzip": ("a.csv.gz", gzip.compress(b"a,churned\n" + b"1,Yes\n" * 400)[:-20], "ends in the middle"),
    "constant inputs": ("a.csv", b"a,churned\n" + b"1,Yes\n1,No\n" * 200, "no column can be an input"),
    "a label of blanks": ("a.csv", b"a,churned\n" + b"1, \n" * 300, "is empty in every row"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "reason"), BAD_FILES.values(), ids=BAD_FILES)
def test_files_that_say_nothing(run: Any, tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    said = run("purchase_intent", "--table", file, "--label", "churned")
    assert said.status in (1, 2)
    assert said.last.startswith("reflexarc: ")
    assert reason in said.last
    assert said.out == ""


BAD_LOGS = {
    "no cut": (("--horizon", "10d"), "when is the log cut"),
    "no date": (("--cut", "soon", "--horizon", "10d"), "--cut is 'soon'"),
    "no span": (("--cut", "2023-12-24", "--horizon", "ten"), "--horizon is 'ten'"),
    "a span of nothing": (("--cut", "2023-12-24", "--horizon", "0d"), "--horizon is '0d'"),
    "behind the log": (("--cut", "2024-06-01", "--horizon", "10d"), "ends"),
    "before the log": (("--cut", "2020-06-01", "--horizon", "10d"), "no label was known at the cut"),
    "a horizon too long": (("--cut", "2023-12-24", "--horizon", "90d"), "ends"),
    "no such event": (("--cut", "2023-12-24", "--horizon", "10d", "--goal", "buys"), "no event 'buys' occurs"),
    "a table's option": (("--cut", "2023-12-24", "--horizon", "10d", "--label", "x"), "--label does not go with --events"),
}


@pytest.mark.parametrize(("words", "reason"), BAD_LOGS.values(), ids=BAD_LOGS)
def test_logs_that_say_nothing(run: Any, tmp_path: Path, words: tuple[str, ...], reason: str) -> None:
    file, mapping = events(tmp_path, subjects=60)
    said = run("churn", "--events", file, "--map", mapping, *words)
    assert said.status in (1, 2), said.err
    assert said.last.startswith("reflexarc: ")
    assert reason in said.last
    assert said.out == ""


def test_a_log_in_which_nobody_buys(run: Any, tmp_path: Path) -> None:
    file, mapping = events(tmp_path, subjects=60)
    file.write_text(file.read_text().replace(",buy,", ",view,"))
    said = run("purchase_intent", "--events", file, "--map", mapping, "--cut", "2023-12-24", "--horizon", "10d")
    assert said.status == 1
    assert "nobody ever bought" in said.last
    garbage = tmp_path / "garbage.csv"
    garbage.write_text("who,what,at,amount\n" + "u1,dance,never,x\n" * 50)
    said = run("churn", "--events", garbage, "--map", mapping, "--cut", "2023-12-24", "--horizon", "10d")
    assert said.status == 1
    assert "is an event: the first, row 1: " in said.last
    said = run("churn", "--events", table(tmp_path), "--map", mapping, "--cut", "2023-12-24", "--horizon", "10d")
    assert "has no column" in said.last


@given(
    st.one_of(
        st.binary(max_size=400),
        st.lists(st.lists(st.text(alphabet='ab,";\n\t 01é', max_size=6), min_size=1, max_size=4), max_size=12).map(
            lambda rows: ("a,churned\n" + "\n".join(",".join(cells) for cells in rows)).encode()
        ),
    )
)
@settings(max_examples=150)
def test_any_bytes_are_a_table_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.csv"
    file.write_bytes(content)
    try:
        found = read_table(file, "churned", None, None, (), None)
    except ReflexArcError:
        return  # any other exception would be a traceback
    assert len(found.labels) == len(found.keys) == len(next(iter(found.columns.values())))


@pytest.mark.parametrize(("values", "positive"), [
    (("Yes", "No"), "Yes"), (("TRUE", "FALSE"), "TRUE"), (("1", "0"), "1"), (("1.0", "0.0"), "1.0"),
    (("False.", "True."), "True."),
    (("Existing Customer", "Attrited Customer"), "Attrited Customer"), (("n", "y"), "y"),
])  # fmt: skip
def test_the_positive_value_is_guessed_where_it_is_obvious(tmp_path: Path, values: tuple[str, str], positive: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text("a;label\n" + "".join(f"{i};{values[i % 2]}\n" for i in range(10)))
    found = read_table(file, "label", None, None, (), None)  # and the semicolon is seen
    assert found.positive == positive
    assert found.labels.tolist() == [int(values[i % 2] == positive) for i in range(10)]


def test_a_table_in_another_encoding_and_times_as_months(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(
        b"name,month,y\n" + "".join(f"Zoë,{('Feb', 'June', 'Dec')[i % 3]},{i % 2}\n" for i in range(9)).encode("cp1252")
    )
    found = read_table(file, "y", None, "month", (), None)
    assert found.columns["name"][0] == "Zoë"
    assert any("cp1252" in note for note in found.notes)
    assert found.times is not None
    assert found.times.tolist() == [1.0, 5.0, 11.0] * 3


def test_an_interrupt_ends_it_in_one_line(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "reflexarc_cli", "evaluate", "churn", "--table", table(tmp_path, 4_000), "--label", "churned"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline().startswith("Reading")  # it is at work now
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.strip().splitlines()[-1] == "interrupted"
    assert out == ""
    assert "Traceback" not in err


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e9))
def test_ticks_are_few_round_and_inside(low: float, span: float) -> None:
    high = low + span
    if high <= low:
        return
    found = ticks(low, high)
    assert len(found) <= 12
    assert all(low - 1e-6 * span <= value <= high + 1e-6 * span for value in found)
