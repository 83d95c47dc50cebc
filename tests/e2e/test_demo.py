"""The demo, as a person starts it: the whole loop on real files and on simulated shoppers, with and without kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent / "reflexarc"


def demo(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the command in an empty folder; (status, output, errors)."""
    finished = subprocess.run([BIN, "demo", *arguments], cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    return finished.returncode, finished.stdout, finished.stderr


def loop(folder: Path, *arguments: str) -> dict[str, Any]:
    status, output, errors = demo(folder, *arguments, "--json")
    assert status == 0, errors[-2_000:] + output[-2_000:]
    found: dict[str, Any] = json.loads(output)
    assert (found["lost"], found["duplicates"]) == (0, 0)
    assert found["events_applied"] >= found["events_captured"] > 0
    assert found["offline_decisions"] > 0
    assert found["offline_decisions"] > 0 or not found["decisions"]
    assert found["offline_scored"] > 0
    assert all(invariant["holds"] for invariant in found["invariants"])
    assert 0 < found["pss_mb_peak"] < 1_536
    assert not list(folder.iterdir()), "the demo leaves nothing behind"
    return found


def test_orders(tmp_path: Path, real_sets: Path) -> None:
    found = loop(tmp_path, "--data", str(real_sets / "orders_online_retail"))
    assert found["events_captured"] > 15_000
    assert found["escalations"] > 0
    assert found["models"]["churn"]["inputs_left_out"] == ["support_tickets"]
    assert found["models"]["churn"]["auc"] > found["models"]["churn"]["auc_recency"]
    assert found["placebo"] is True


def test_wikimedia_sessions(tmp_path: Path, real_sets: Path) -> None:
    found = loop(tmp_path, "--data", str(real_sets / "clickstream_wikimedia_sessions"))
    assert "no_data" in found["models"]["purchase_intent"]
    assert found["models"]["churn"]["auc"] > found["models"]["churn"]["auc_recency"]
    assert found["decisions"]["FIRED"] > 0
    assert found["decisions"]["HOLDOUT"] > 0


def test_simulated_shoppers_show_an_effect(tmp_path: Path) -> None:
    found = loop(tmp_path)
    assert found["simulated"] is True
    assert found["escalations"] > 0
    assert found["decisions"]["FIRED"] > 0
    assert found["lift"]["proactive_re_engagement"]["lift"] is not None
    for trigger_id, trigger in found["triggers"].items():  # all three automations act, and are measured
        assert trigger["reasons"]["FIRED"] > 0, trigger_id
        assert trigger["treated"] > trigger["held_out"] > 0, trigger_id
    assert found["models"]["content_interest"]["items"]["items"] > 100
    recommended = found["recommended"]
    assert recommended["shown"] > recommended["steps"] > 0
    assert recommended["repeats"] == 0
    assert len(recommended["items"]) > 20


def test_what_was_scored_live_is_held_against_training_and_outcomes(tmp_path: Path) -> None:
    status, output, errors = demo(tmp_path, "--folder", "kept", "--days", "35", "--json")
    assert status == 0, errors[-2_000:] + output[-2_000:]
    folder = tmp_path / "kept"
    command = [BIN, "drift", "--data", str(folder / "server"), "--catalog", str(folder / "catalog.json"), "--json"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    (churn,) = json.loads(finished.stdout)["models"]["churn"]
    assert churn["live"] and churn["form"] == "device" and churn["scores"] > 10_000
    assert set(churn["inputs"]) == {"engagement_score", "usage_frequency", "support_tickets"}
    assert churn["inputs"]["support_tickets"] < 0.1 and churn["score"] < 0.25, "the world goes on as it was"
    outcomes = churn["outcomes"]
    assert outcomes["rows"] > 1_000 and abs(outcomes["rate"] - outcomes["score_mean"]) < 0.1


def test_ratings_of_films(tmp_path: Path, real_sets: Path) -> None:
    found = loop(tmp_path, "--data", str(real_sets / "content_ml_latest_small" / "ratings.csv"))
    model = found["models"]["content_interest"]
    assert model["items"]["items"] > 5_000
    assert set(model["inputs_left_out"]) == {"time_spent", "sharing_behavior"}
    assert "no_data" in found["models"]["purchase_intent"]


def test_twenty_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    found = loop(tmp_path, "--kill", "20", "--seed", "3", "--days", "14")
    assert found["kills"] == 20


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--data", "nowhere"), "nowhere does not exist"),
        (("--map", "orders_online_retail"), "--map needs --data"),
        (("--data", "{file}"), "no shipped mapping"),
        (("--data", "{file}", "--map", "none"), "no mapping 'none'"),
        (("--data", "{empty}"), "empty"),
        (("--folder", "{full}"), "not empty"),
    ],
)
def test_a_wrong_call_is_one_clear_line(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    (tmp_path / "file.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    names = {"file": "file.csv", "empty": "empty.csv", "full": "full"}
    status, output, errors = demo(tmp_path, *(argument.format(**names) for argument in arguments))
    assert status == 1
    assert output == ""
    (line,) = [line for line in errors.splitlines() if line.startswith("reflexarc:")]
    assert says in line
    assert "Traceback" not in errors


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, _, errors = demo(tmp_path, "--port", str(taken.getsockname()[1]))
    assert status == 1
    assert "in use" in errors or "taken" in errors
    assert "Traceback" not in errors


def test_an_interrupt_ends_everything(tmp_path: Path) -> None:
    process = subprocess.Popen([BIN, "demo"], cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Inventing"):
            break
    while not list(tmp_path.glob(".reflexarc-demo-*/device-*/store")):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert not list(tmp_path.iterdir())
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    process.stderr.close()
