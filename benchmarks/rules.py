"""`rules`: every condition for one event; our compiled group beside CEL and rule engines, hits read and equal.

Every engine is asked in its best usage and gets the same event dict; indexed by event name as ours is, and over all rules
beside it. Owns the rules and what is timed of ours; the engines are set up in `rule_engines`. Runs in one process.
"""

from __future__ import annotations

import gc
import random
import re
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import rule_engines
from benchmarks.frame import Goal, Report, Row, interleaved, latency_figures, percentile, ratio
from benchmarks.machine import machine

GOALS = (
    Goal("speedup_100_vs_fastest_engine", at_least=10),
    Goal("speedup_1000_vs_fastest_engine", at_least=5),
    Goal("speedup_100_mixed_vs_fastest_engine"),
    Goal("speedup_1000_mixed_vs_fastest_engine"),
    Goal("compile_1000_ms", at_most=50),
    Goal("swap_host_lateness_p99_ms", at_most=1),
    Goal("swap_host_lateness_max_ms", at_most=6),
    Goal("idle_host_lateness_p99_ms"),
    Goal("idle_host_lateness_max_ms"),
    Goal("cost_10000_idle_triggers", at_most=1.5),
)
SEED = 20261126
EVENT_NAMES = tuple(f"event_{n}" for n in range(10))
FEATURES = tuple(f"f{n}" for n in range(12))
PAGES = tuple(f"/page/{n}" for n in range(8))
Rule = tuple[str, str]  # event name, condition over f0..f11 and page
Ask = Callable[[dict[str, Any]], list[int]]


def rules(count: int, mixed: bool) -> list[Rule]:
    """Seeded rules: two comparisons of features; mixed ones test text, membership and arithmetic as well."""
    rng = random.Random(SEED + count)
    made: list[Rule] = []
    for number in range(count):
        a, b = rng.sample(FEATURES, 2)
        x, y = round(rng.random(), 3), round(rng.random(), 3)
        text = f"{a} > {x} && {b} <= {y}"
        if mixed and number % 4 == 1:
            text = f"page in ['{rng.choice(PAGES)}', '{rng.choice(PAGES)}', '/x'] && {a} > {x}"
        elif mixed and number % 4 == 2:
            text = f"page.startsWith('/page/{rng.randrange(8)}') && {b} <= {y}"
        elif mixed and number % 4 == 3:
            text = f"{a} + {b} * 2.0 > {round(2 * x + y, 3)} || {a} < 0.01"
        made.append((EVENT_NAMES[number % len(EVENT_NAMES)], text))
    return made


def events(count: int) -> list[dict[str, Any]]:
    """The events, each one flat dict."""
    rng = random.Random(SEED)
    return [
        {"event": rng.choice(EVENT_NAMES), "page": rng.choice(PAGES), **{name: rng.random() for name in FEATURES}}
        for _ in range(count)
    ]


def run(*, quick: bool) -> Report:
    """Measure everything; the report."""
    report = Report("rules", machine(), goals=GOALS, missing=rule_engines.missing())
    rounds, n = (2, 200) if quick else (5, 1_000)
    asked = events(n)
    for count in (100, 1_000):
        for mixed in (False, True):
            _beside(report, count, mixed, rounds, asked)
    compiles = [_compile_ms() for _ in range(3 if quick else 7)]
    report.ratios["compile_1000_ms"] = round(statistics.median(compiles), 2)
    checked, swaps = _kept(), 5 if quick else 40
    found = interleaved(swaps, {
        "swap": lambda _: _lateness_ms(partial(_compile_all, checked)), "idle": lambda _: _lateness_ms(partial(time.sleep, 0.05))
    })  # fmt: skip
    late, idle = (sorted(value for taken in found[case] for value in taken) for case in ("swap", "idle"))
    report.ratios["swap_host_lateness_p99_ms"] = round(percentile(late, 0.99), 3)
    report.ratios["swap_host_lateness_max_ms"] = round(late[-1], 3)
    report.ratios["idle_host_lateness_p99_ms"] = round(percentile(idle, 0.99), 3)
    report.ratios["idle_host_lateness_max_ms"] = round(idle[-1], 3)
    report.ratios["cost_10000_idle_triggers"] = _idle_cost(rounds, 500 if quick else 3_000)
    report.notes.append("swap_host_lateness: while 1,000 conditions are compiled; what else a catalog switch does is not in it")
    report.notes.append("idle_host_lateness: of the same thread while nothing is done, which is the machine's own")
    report.notes.append("cost_10000_idle_triggers: of evaluating conditions; what else an engine does for an event is not in it")
    report.notes.append("business-rules is not measured: its rules are Python objects")
    report.notes.append("durable_rules is left out: an event is consumed by the first rule it fits, so its hits are not equal")
    return report


def _beside(report: Report, count: int, mixed: bool, rounds: int, asked: list[dict[str, Any]]) -> None:
    case = f"{count} rules{', mixed' if mixed else ''}"
    made = rules(count, mixed)
    asks: dict[str, Ask] = {"reflexarc": ours(made)}
    for name, build in rule_engines.present().items():
        if name in rule_engines.SLOW and (count > 100 or mixed):
            continue  # a fiftieth of a second and more for every event
        by_event = {event: build(_numbered(made, event), FEATURES) for event in EVENT_NAMES}
        asks[name] = _indexed(by_event)
        if name not in rule_engines.SLOW:
            asks[f"{name}, unindexed"] = build([(i, f"event == '{e}' && ({t})") for i, (e, t) in enumerate(made)], FEATURES)
    slow = {name for name in asks if name.split(",")[0] not in (*rule_engines.LISTS, "reflexarc")}
    for name, ask in asks.items():
        looked_at = asked[: 10 if name in slow else 60]
        if [ask(event) for event in looked_at] != [asks["reflexarc"](event) for event in looked_at]:
            raise RuntimeError(f"{name}: {case}: the hits are not ours")

    def timed(name: str, _: int) -> list[int]:
        ask, taken = asks[name], []
        for event in asked[: 10 if name in slow else len(asked)]:
            start = time.perf_counter_ns()
            ask(event)
            taken.append(time.perf_counter_ns() - start)
        return taken

    gc.collect()
    found_ns = interleaved(rounds, {name: partial(timed, name) for name in asks})
    for name, results in found_ns.items():
        report.rows.append(Row(name, case, sum(map(len, results)), latency_figures(results)))
    mine = report.row("reflexarc", case)
    assert mine is not None
    peer = report.fastest(rule_engines.present(), case, "p50_us")
    key = f"speedup_{count}{'_mixed' if mixed else ''}_vs_fastest_engine"
    report.ratios[key] = ratio(peer, mine.figure("p50_us"))


def _indexed(by_event: dict[str, Ask]) -> Ask:
    return lambda event: by_event[event["event"]](event)


def _numbered(made: list[Rule], event: str) -> list[tuple[int, str]]:
    return [(index, text) for index, (name, text) in enumerate(made) if name == event]


def _checked(made: list[Rule]) -> list[Any]:
    from reflexarc_build.cel import check_expression
    from reflexarc_core.condition import CelType

    names = {f"event.{name}": CelType("double") for name in FEATURES} | {"event.page": CelType("string")}
    found = []
    for _, text in made:
        for name in sorted((*FEATURES, "page"), key=len, reverse=True):
            text = _renamed(text, name)
        found.append(check_expression(text, names))
    return found


def _renamed(text: str, name: str) -> str:
    return re.sub(rf"(?<![\w./']){name}(?![\w/])", f"event.{name}", text)


def ours(made: list[Rule]) -> Ask:
    """One compiled function per event name, as the engine has them."""
    from reflexarc_core.condition import compile_group

    checked = _checked(made)
    held = {}
    for event in EVENT_NAMES:
        indexes = [index for index, (name, _) in enumerate(made) if name == event]
        group = compile_group([checked[index] for index in indexes], indexes)
        held[event] = (group.evaluate, [0] * group.count_total)
    nothing: dict[str, Any] = {}
    failed: list[Any] = []

    def ask(event: dict[str, Any]) -> list[int]:
        evaluate, counts = held[event["event"]]
        return evaluate(event, nothing, nothing, nothing, counts, failed)

    return ask


def _compile_all(checked: list[tuple[str, Any]]) -> None:
    from reflexarc_core.condition import compiling_group
    from reflexarc_edge.spool import breathe

    for event in EVENT_NAMES:  # as `Runtime.switch` does it
        for _ in compiling_group([one for name, one in checked if name == event]):
            breathe()


_KEPT: list[tuple[str, Any]] = []


def _kept() -> list[tuple[str, Any]]:
    if not _KEPT:
        made = rules(1_000, False)
        _KEPT.extend((name, one) for (name, _), one in zip(made, _checked(made), strict=True))
    return _KEPT


def _compile_ms() -> float:
    checked = _kept()
    start = time.perf_counter()
    _compile_all(checked)
    return (time.perf_counter() - start) * 1_000


def _lateness_ms(meanwhile: Callable[[], None]) -> list[float]:
    """How late a thread that wakes every millisecond is while another, one of ours by its name, does that."""
    late: list[float] = []
    other = threading.Thread(target=meanwhile, name="reflexarc-swap")
    due = time.perf_counter()
    other.start()
    while other.is_alive():
        due += 0.001
        time.sleep(max(0.0, due - time.perf_counter()))
        now = time.perf_counter()
        late.append((now - due) * 1_000)
        due = max(due, now)
    return late


def _idle_cost(rounds: int, n: int) -> float | None:
    """An event that ten conditions are evaluated for, with 10,000 for other events compiled beside, over the same without."""
    made = [(EVENT_NAMES[0], text) for _, text in rules(10, False)]
    idle = [(f"{EVENT_NAMES[1 + number % 9]}", text) for number, (_, text) in enumerate(rules(10_000, False))]
    event = {**events(1)[0], "event": EVENT_NAMES[0]}
    asks = {"alone": ours(made), "idle": ours(made + idle)}

    def timed(name: str, _: int) -> float:
        ask = asks[name]
        start = time.perf_counter_ns()
        for _ in range(n):
            ask(event)
        return (time.perf_counter_ns() - start) / n

    found = interleaved(rounds, {name: partial(timed, name) for name in asks})
    return ratio(statistics.median(found["idle"]), statistics.median(found["alone"]))
