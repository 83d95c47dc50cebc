"""The frame of the benchmark suite: what is printed is what readers and scripts rely on."""

import importlib
import io
import json

import pytest

from benchmarks import __main__ as command
from benchmarks import peers
from benchmarks.frame import Goal, Report, Row, interleaved, latency_figures, percentile, ratio

KEYS = {
    "capture": {
        "burst_p50_vs_fastest_peer", "burst_p99_vs_fastest_peer", "paced_p99_vs_fastest_peer", "lost_after_kill",
        "rss_mb_per_100k_offline", "dropped_offline",
    },
    "decide": {"p50_vs_segment_track", "p99_over_p50"},
    "features": {"vs_fastest_peer", "max_abs_diff", "online_us_p50"},
    "http": {"vs_bare_asgi"},
    "ingest": {"vs_postgres_copy_dedupe", "vs_bare_sqlite"},
    "interest": {
        "ndcg_100_difference_low", "ndcg_100_difference", "int8_loss_ndcg_100", "live_update_vs_implicit",
    },
    "rules": {
        "speedup_100_vs_fastest_engine", "speedup_1000_vs_fastest_engine", "compile_1000_ms", "swap_host_lateness_p99_ms",
        "swap_host_lateness_max_ms", "cost_10000_idle_triggers",
    },
    "score": {
        "forest_1row_vs_ort", "gb_1row_vs_ort", "forest_256_vs_ort", "student_1row_us", "student_bytes", "max_abs_diff_kernel",
    },
    "student": {"auc_loss_mean", "auc_loss_upper_95", "jaccard_mean_least", "bytes_most"},
    "start": {"import_vs_bare_interpreter", "first_decision_ms", "device_install_mb", "device_rss_mb"},
}  # fmt: skip


def _report() -> Report:
    report = Report("capture", {"cpu": "x"}, goals=(Goal("a", at_most=1), Goal("b", at_least=2), Goal("c"), Goal("d", at_most=0)))
    report.rows = [Row("ours", "burst", 10, {"p50_us": 2.0}), Row("one", "burst", 10, {"p50_us": 8.0}),
                   Row("two", "burst", 10, {"p50_us": 4.0})]  # fmt: skip
    report.ratios = {"a": 0.5, "b": 1.0, "c": 7.0}
    report.missing = {"three": "install it"}
    return report


def test_the_last_line_holds_ratios_and_goals() -> None:
    out = io.StringIO()
    _report().print(True, out)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert all(line["id"] == "capture" for line in lines)
    assert lines[0]["machine"] == {"cpu": "x"}
    assert lines[1] == {"id": "capture", "who": "ours", "case": "burst", "n": 10, "p50_us": 2.0}
    assert lines[-1]["ratios"] == {"a": 0.5, "b": 1.0, "c": 7.0}
    assert {name: goal["holds"] for name, goal in lines[-1]["goals"].items()} == {"a": True, "b": False, "c": None, "d": False}
    assert lines[-1]["goals"]["a"] == {"value": 0.5, "goal": "<= 1", "holds": True}


def test_a_missing_peer_is_named_in_both_forms() -> None:
    for as_json in (True, False):
        out = io.StringIO()
        _report().print(as_json, out)
        assert "three" in out.getvalue()
        assert "install it" in out.getvalue()


def test_the_fastest_peer_is_the_one_with_the_smallest_figure() -> None:
    assert _report().fastest(("one", "two", "absent"), "burst", "p50_us") == 4.0
    assert _report().fastest(("absent",), "burst", "p50_us") is None
    assert ratio(2.0, 4.0) == 0.5
    assert ratio(2.0, None) is None


def test_percentiles_are_measured_values() -> None:
    values = list(range(1, 101))
    assert [percentile(values, share) for share in (0.5, 0.99, 0.999, 1.0)] == [50, 99, 100, 100]
    assert percentile([7], 0.5) == 7


def test_figures_are_medians_over_rounds_so_one_bad_round_moves_nothing() -> None:
    figures = latency_figures([[1_000] * 10, [2_000] * 10, [90_000] * 10], [5.0, 7.0, 100.0])
    assert (figures["p50_us"], figures["p99_us"], figures["max_us"], figures["rate"]) == (2.0, 2.0, 90.0, 7)


def test_rounds_are_interleaved_and_turned_round() -> None:
    order: list[str] = []
    interleaved(2, {name: lambda _, name=name: order.append(name) for name in "abc"})  # type: ignore[misc]
    assert "".join(order) == "abccba"


@pytest.mark.parametrize("bench_id", [i for i in command.BENCHMARKS if i not in command.BUILT])
def test_what_is_not_built_says_so(bench_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([bench_id]) == 2
    assert "not built yet" in capsys.readouterr().err


def test_an_unknown_benchmark_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["captur"]) == 2
    assert "capture" in capsys.readouterr().err


@pytest.mark.parametrize("bench_id", command.BUILT)
def test_a_built_benchmark_has_its_goals(bench_id: str) -> None:
    goals = importlib.import_module(f"benchmarks.{bench_id}").GOALS
    assert KEYS[bench_id] <= {goal.name for goal in goals}


def test_a_benchmark_that_breaks_ends_non_zero_and_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*, quick: bool) -> Report:
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(importlib.import_module("benchmarks.start"), "run", broken)
    assert command.main(["start", "--quick"]) == 1
    assert "the disk is gone" in capsys.readouterr().err


def test_a_peer_that_is_not_installed_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers.PEERS, "nobody", ("no_such_module.at_all", "no-such-distribution"))
    assert "no-such-distribution is not installed" in peers.missing_peers()["nobody"]
