"""`ingest`: events into a running server, exactly once and durable, beside PostgreSQL and bare SQLite.

Owns the cases and what the ratios are taken of. Ours goes through gRPC into the real server process, is decoded,
validated, deduplicated and synced to disk before the answer; the engine folds behind it, on the same cores, and what it is
behind at the end is printed. The peers are their client library in the measured process: a table with the same columns
and one unique id.
"""

import contextlib
import json
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.child import run_module
from benchmarks.frame import Goal, Report, Row, interleaved, latency_figures, ratio
from benchmarks.machine import machine
from benchmarks.postgres import PostgresMissing, postgres
from benchmarks.server import ServerMissing, server
from reflexarc.definitions import load_catalog

GOALS = (Goal("vs_postgres_copy_dedupe", at_least=1.5), Goal("vs_bare_sqlite", at_least=0.5))
PUSH, TRACK = "reflexarc, Push", "reflexarc, Track"
SQLITE = "sqlite"
POSTGRES = ("postgres, rows", "postgres, block")
FOLD_MAX_S = 60.0
WARM_UP_ROUND = 1_000
WARM_UP_S = 3.0
CASE = "batches of 1,000"


def run(*, quick: bool) -> Report:
    """Measure everything; the report."""
    report = Report("ingest", machine(), goals=GOALS)
    batches, rounds = (20, 3) if quick else (60, 7)
    with tempfile.TemporaryDirectory(prefix="reflexarc-ingest-") as made, contextlib.ExitStack() as stack:
        folder = Path(made)
        given: dict[str, Any] = {"folder": made, "batches": batches}
        variants = [SQLITE]
        try:
            given["postgres"] = stack.enter_context(postgres(folder / "postgres"))
            import psycopg  # noqa: F401

            variants += POSTGRES
        except PostgresMissing as error:
            report.missing["postgres"] = str(error)
        except ImportError:
            report.missing["postgres"] = "psycopg is not installed: pip install 'reflexarc[bench]'"
        try:
            catalog = folder / "catalog.json"
            catalog.write_bytes(load_catalog(None).to_bytes())
            given["port"] = stack.enter_context(server(folder / "server", catalog))
            variants = [PUSH, TRACK, *variants]
        except ServerMissing as error:
            report.missing["reflexarc"] = str(error)
        if "port" in given:  # a server that has just begun compiles what reads usual records: once in its life, not in a round
            run_module("benchmarks.ingest_child", [json.dumps({**given, "who": PUSH, "round": WARM_UP_ROUND, "batches": 3})])
            time.sleep(WARM_UP_S)
            _fold_to_the_end(given["port"])
        found = interleaved(rounds, {who: partial(_round, given, who) for who in variants})
    for who, results in found.items():
        figures = latency_figures([one["ns"] for one in results], [one["rate"] for one in results])
        figures["rate_rounds"] = [round(one["rate"]) for one in results]
        for more in ("behind", "folded_a_second"):
            if more in results[0]:
                figures[more] = round(statistics.median(one[more] for one in results))
        report.rows.append(Row(who, CASE, batches * rounds, figures))
    rates = {who: statistics.median(one["rate"] for one in results) for who, results in found.items()}
    fastest_copy = max((rates[who] for who in POSTGRES if who in rates), default=None)
    report.ratios["vs_postgres_copy_dedupe"] = ratio(rates.get(PUSH), fastest_copy)
    report.ratios["vs_bare_sqlite"] = ratio(rates.get(PUSH), rates.get(SQLITE))
    report.notes.append("latencies are of a batch, rates of events; ratios are Push's, against the faster way to COPY")
    return report


def _round(given: dict[str, Any], who: str, number: int) -> dict[str, Any]:
    # Every (round, way) has events and a stream of its own: the server keeps one event per id, whoever sends it.
    done = run_module("benchmarks.ingest_child", [json.dumps({**given, "who": who, "round": 2 * number + (who == TRACK)})])
    if who in (PUSH, TRACK):
        done["behind"], done["folded_a_second"] = _fold_to_the_end(given["port"])
    return done


def _fold_to_the_end(port: int) -> tuple[int, int]:
    """(events that the fold was behind at the last answer, events a second from there on). Nobody else is measured meanwhile."""
    import grpc

    from reflexarc_proto.v1 import admin_service_pb2, admin_service_pb2_grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = admin_service_pb2_grpc.AdminServiceStub(channel)
        behind = lag = stub.GetStatus(admin_service_pb2.GetStatusRequest(), timeout=30).fold_lag_count
        begun = time.monotonic()
        while lag:
            if time.monotonic() - begun > FOLD_MAX_S:
                raise RuntimeError(f"the fold is {lag} records behind and does not catch up")
            time.sleep(0.05)
            lag = stub.GetStatus(admin_service_pb2.GetStatusRequest(), timeout=30).fold_lag_count
        return behind, round(behind / max(time.monotonic() - begun, 0.05))
