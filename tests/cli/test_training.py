"""Training again and again: what is due, one run at a time, gates before a rollout, and a run that was cut short."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from reflexarc.backend import Backend
from reflexarc.definitions import load_catalog
from reflexarc_cli.main import cli
from reflexarc_cli.progress import Progress, Step
from reflexarc_cli.retraining import RESUMABLE_MS, Run, Schedule
from reflexarc_cli.shoppers import DAY_MS, START_TIME, ShopperWorld, event_of
from reflexarc_cli.training import train
from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import ReflexArcError
from reflexarc_core.event import Event
from reflexarc_models.artifact import Artifact
from reflexarc_models.train.forms.gates import DEVICE_BYTES_MAX
from reflexarc_server.app import Server, start_server
from reflexarc_server.clock import SystemClock
from reflexarc_server.distribution import Bundle, Distribution

HISTORY_DAYS = 150
END = START_TIME + HISTORY_DAYS * DAY_MS
QUIET = Progress(quiet=True)


class Interrupting(Progress):
    """A person at Ctrl-C when the second model begins."""

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Step]:
        if title == "Training purchase_intent":
            raise KeyboardInterrupt
        yield lambda count: None


def _push(backend: Backend, events: list[Event]) -> None:
    for start in range(0, len(events), 1_000):
        assert {verdict for verdict, _ in backend.track(events[start : start + 1_000])} == {"stored"}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """Without content interest: it is trained as the others are, only longer, in the demo."""
    whole = load_catalog(None)
    models = {name: model for name, model in whole.models.items() if not model.items}
    triggers = {name: trigger for name, trigger in whole.triggers.items() if name != "content_recommendation"}
    actions = {name: action for name, action in whole.actions.items() if name != "personalized_content_sequence"}
    return replace(whole, models=models, triggers=triggers, actions=actions)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(data: Path, catalog: Catalog) -> Iterator[Server]:
    """A server with the days of 400 simulated shoppers, nothing trained."""
    started = start_server(data, "127.0.0.1:0", catalog, SystemClock(), insecure=True)
    backend = Backend(started.address, insecure=True)
    _push(backend, [event_of(row) for row in ShopperWorld(1, 400, HISTORY_DAYS, 1).history()])
    backend.close()
    yield started
    started.stop()


def _load(data: Path, report: dict[str, Any]) -> Bundle:
    return Distribution(data).load(report["bundle"])


def _codes(artifact: Artifact) -> tuple[object, ...]:
    """What a model is, but for how fast this machine was when it was made."""
    return (artifact.files["model.onnx"], artifact.score_grid, artifact.segments, dict(artifact.lines))


def test_a_run_that_was_cut_short_goes_on_where_it_was(server: Server, data: Path, catalog: Catalog) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(data, catalog, END, 1, Interrupting())
    resumed = train(data, catalog, END, 1, QUIET)
    assert "churn" in resumed["resumed"] and "purchase_intent" not in resumed["resumed"]
    whole = train(data, catalog, END, 1, QUIET)
    assert whole["resumed"] == [], "a finished run leaves nothing to go on with"
    for model_id, artifact in _load(data, whole).artifacts["device"].items():
        assert _codes(artifact) == _codes(_load(data, resumed).artifacts["device"][model_id])
    with pytest.raises(KeyboardInterrupt):
        train(data, catalog, END, 1, Interrupting())
    assert train(data, catalog, END, 2, QUIET)["resumed"] == [], "another seed is another run"


def test_one_run_at_a_time(server: Server, data: Path, catalog: Catalog) -> None:
    with Schedule(data).alone(), pytest.raises(ReflexArcError, match="another training run is under way"):
        train(data, catalog, END, 1, QUIET)


def test_the_live_model_stays_where_the_new_one_is_refused_and_its_tables_follow_the_newest_labels(
    server: Server, data: Path, catalog: Catalog
) -> None:
    first = train(data, catalog, END, 1, QUIET, ["churn"])
    backend = Backend(server.address, insecure=True)
    backend.activate(first["bundle"])
    backend.close()
    before = _load(data, first)
    plain = json.loads(catalog.to_bytes())
    plain["models"]["churn"]["features"] = ["support_tickets"]
    blind = Catalog.from_bytes(json.dumps(plain).encode())
    again = train(data, blind, END, 1, QUIET, ["churn"])
    verdict = again["models"]["churn"]["verdict"]
    assert not verdict["promoted"] and any("ranks worse than the live one" in reason for reason in verdict["reasons"]), verdict
    after = _load(data, again)
    for form in ("device", "server"):
        kept, old = after.artifacts[form]["churn"], before.artifacts[form]["churn"]
        assert kept.files["model.onnx"] == old.files["model.onnx"] and kept.version == old.version == 1
    forced = train(data, blind, END, 1, QUIET, ["churn"], gated=False)
    assert forced["models"]["churn"]["verdict"]["promoted"]
    assert _load(data, forced).artifacts["server"]["churn"].version == 2


def test_a_model_that_is_not_trained_this_time_stays_as_it_is_live(server: Server, data: Path, catalog: Catalog) -> None:
    both = train(data, catalog, END, 1, QUIET)
    backend = Backend(server.address, insecure=True)
    backend.activate(both["bundle"])
    backend.close()
    one = train(data, catalog, END, 3, QUIET, ["purchase_intent"])
    assert list(one["models"]) == ["purchase_intent"]
    assert _load(data, one).artifacts["device"]["churn"].digest == _load(data, both).artifacts["device"]["churn"].digest
    with pytest.raises(ReflexArcError, match="no model 'chrun'"):
        train(data, catalog, END, 1, QUIET, ["chrun"])


def test_what_is_due_is_trained_and_missed_weeks_by_one_run(tmp_path: Path, catalog: Catalog) -> None:
    schedule = Schedule(tmp_path)
    update = {name: model.update_ms for name, model in catalog.models.items()}
    assert schedule.due(catalog, END) == list(catalog.models), "never trained"
    assert schedule.next_due(catalog, END) == END
    schedule.note(END, {name: {} for name in catalog.models}, "a" * 64)
    assert schedule.due(catalog, END) == [] and schedule.next_due(catalog, END) == END + min(update.values())
    assert schedule.due(catalog, END + update["purchase_intent"] - 1) == []
    daily = [name for name, every in update.items() if every == update["purchase_intent"]]
    assert schedule.due(catalog, END + update["purchase_intent"]) == daily and "churn" not in daily
    long_after = END + 5 * update["churn"]
    assert schedule.due(catalog, long_after) == list(catalog.models), "after five weeks of downtime"
    schedule.note(long_after, {name: {} for name in catalog.models}, "b" * 64)
    assert schedule.due(catalog, long_after) == [], "once, not five times"


def test_a_torn_record_of_runs_says_nothing_and_costs_nothing(tmp_path: Path, catalog: Catalog) -> None:
    schedule = Schedule(tmp_path)
    schedule.note(END, {"churn": {}}, "a" * 64)
    file = tmp_path / "training" / "runs.jsonl"
    file.write_text(file.read_text() + '{"time": 17')
    assert schedule.last_times() == {"churn": END}
    schedule.note(END + 1, {"purchase_intent": {}}, "b" * 64)
    assert schedule.last_times() == {"churn": END, "purchase_intent": END + 1}


def test_what_an_old_or_another_run_left_is_not_gone_on_with(tmp_path: Path) -> None:
    schedule, run = Schedule(tmp_path), Run("c" * 64, 0, 1)
    schedule.unfinished(run, END).keep("churn", {"no_data": "too little"}, {})
    assert schedule.unfinished(run, END + RESUMABLE_MS - 1).take("churn") == ({"no_data": "too little"}, {})
    assert schedule.unfinished(replace(run, seed=2), END).take("churn") is None
    schedule.unfinished(run, END).keep("churn", {"no_data": "too little"}, {})
    assert schedule.unfinished(run, END + RESUMABLE_MS).take("churn") is None


def test_the_command_says_when_something_is_due(server: Server, data: Path) -> None:
    report, later = data / "report.json", str(END + 60 * DAY_MS)
    done = CliRunner().invoke(cli, ["train", "--data", str(data), "--until", later, "--due", "--json-file", str(report)])
    assert done.exit_code == 0, done.output
    assert "churn: AUC" in done.output and json.loads(report.read_text())["models"]["churn"]["verdict"]["promoted"]
    again = CliRunner().invoke(cli, ["train", "--data", str(data), "--until", later, "--due"])
    assert again.exit_code == 0 and again.output.startswith("nothing is due until "), again.output
    for wrong in (["--due", "--model", "churn"], ["--stay", "--until", "5"]):
        refused = CliRunner().invoke(cli, ["train", "--data", str(data), *wrong])
        assert refused.exit_code != 0 and "give one or the other" in str(refused.exception)


def test_a_line_is_read_off_from_what_can_be_handled(server: Server, data: Path, catalog: Catalog) -> None:
    backend = Backend(server.address, insecure=True)
    backend.activate(train(data, catalog, END, 1, QUIET, ["churn"])["bundle"])
    backend.close()

    def said(*arguments: str) -> Any:
        done = CliRunner().invoke(cli, ["lines", "--data", str(data), *arguments])
        return done if done.exit_code else done.output

    whole = json.loads(said("--model", "churn", "--json"))["churn"]
    top = json.loads(said("--model", "churn", "--top", "5%", "--json"))
    assert top in whole and top["line"] == min(row["line"] for row in whole if row["share"] <= 0.05)
    few = json.loads(said("--model", "churn", "--per-day", "0.5", "--json"))
    assert few["line"] == min(row["line"] for row in whole if row["fires_a_day"] <= 0.5)
    assert said("--model", "churn", "--top", "5%").startswith(f"{top['line']}\n")
    for wrong, why in (
        (("--top", "5%"), "about one model"),
        (("--model", "churn", "--top", "five"), "no share"),
        (("--model", "chrun"), "no table for chrun"),
        (("--model", "churn", "--top", "0.1%"), "no line"),
    ):
        assert why in str(said(*wrong).exception)


def test_hours_of_the_week_come_with_the_model_where_a_trigger_waits(server: Server, data: Path, catalog: Catalog) -> None:
    plain = json.loads(catalog.to_bytes())
    plain["triggers"]["purchase_optimization"]["policy"]["best_hours"] = False
    at_once = Catalog.from_bytes(json.dumps(plain).encode())
    bundle = _load(data, train(data, catalog, END, 1, QUIET, ["purchase_intent"]))
    hours = bundle.live_models["purchase_intent"].hours
    assert hours is not None and len(hours.everybody) == 168 and hours.strength >= 1
    device = bundle.artifacts["device"]["purchase_intent"]
    assert device.hours == hours
    size = device.evidence["gates"]["size"]  # of all of it: the trees have made room for the hours
    assert size == {"bytes": device.download_bytes, "limit": DEVICE_BYTES_MAX, "holds": True}
    assert all(model.hours is None for name, model in bundle.live_models.items() if name != "purchase_intent")
    nobody = _load(data, train(data, at_once, END, 1, QUIET, ["purchase_intent"]))
    assert nobody.live_models["purchase_intent"].hours is None
