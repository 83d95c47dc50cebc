"""`python -m benchmarks ID [--json] [--quick]`: run one benchmark, or `all` that are built, and print what it found.

Exit status 0 when it ran, whatever the goals say; 1 when something broke; 2 for an unknown benchmark or one that is
not built yet.
"""

import argparse
import importlib
import os
import sys
import traceback

# Every benchmark of the suite and what it measures. One module each, of the same name; no module: not built yet.
BENCHMARKS = {
    "capture": "one track() call beside the peers' calls: burst, paced, kill -9, memory while offline",
    "decide": "event in, decision out, durable: features, 100 conditions and a model on every event",
    "rules": "conditions: our compiled groups beside CEL and rule engines",
    "features": "as-of features over a history, and online updates",
    "score": "model kernels beside ONNX Runtime; the student on the device",
    "ingest": "events into the server, exactly once, beside PostgreSQL and bare SQLite",
    "interest": "content interest beside implicit: quality, what int8 costs, one live update",
    "rpc": "scoring over gRPC beside other model servers",
    "http": "HTTP intake beside an empty route",
    "distribution": "checking for, fetching and installing a bundle",
    "reports": "results over a long history",
    "start": "import, first decision, size and memory on a device",
    "student": "what the device student loses against the forest, on three real sets (REFLEXARC_DATA)",
}
BUILT = ("capture", "decide", "features", "http", "ingest", "interest", "rules", "score", "start", "student")


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; the exit status."""
    # Where byte code is never written, every start would compile the sources: nobody's application does.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The latency suite.")
    parser.add_argument("id", nargs="?", help="a benchmark's id, or `all` for every one that is built")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--quick", action="store_true", help="under a minute, wider noise, the same keys")
    parser.add_argument("--list", action="store_true", help="name the benchmarks")
    given = parser.parse_args(arguments)
    if given.list:
        for bench_id, what in BENCHMARKS.items():
            print(f"{bench_id:14}{what}{'' if bench_id in BUILT else '   (not built yet)'}")
        return 0
    if given.id is None:
        parser.print_usage(sys.stderr)
        return 2
    if given.id != "all" and given.id not in BENCHMARKS:
        print(f"no benchmark {given.id!r}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    if given.id != "all" and given.id not in BUILT:
        print(f"{given.id}: not built yet ({BENCHMARKS[given.id]})", file=sys.stderr)
        return 2
    status = 0
    for bench_id in BUILT if given.id == "all" else (given.id,):
        try:
            report = importlib.import_module(f"benchmarks.{bench_id}").run(quick=given.quick)
        except Exception:  # the next benchmark still runs; this one's reason is printed in full
            traceback.print_exc()
            print(f"{bench_id}: broke", file=sys.stderr)
            status = 1
        else:
            report.print(given.json)
            sys.stdout.flush()
    return status


if __name__ == "__main__":
    sys.exit(main())
