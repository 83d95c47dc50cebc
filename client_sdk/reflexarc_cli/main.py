"""The `reflexarc` command.

Owns the words a person types. An error is one clear line on standard error and exit status 1; a wrong option is 2;
a signal is 128 and its number, an interrupt 130.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Final

import click

import reflexarc
from reflexarc_cli.access import Access, with_access
from reflexarc_cli.catalog_commands import catalog
from reflexarc_cli.device_commands import explain, stats
from reflexarc_cli.doctor_command import doctor
from reflexarc_cli.drift_command import drift
from reflexarc_cli.email_commands import email
from reflexarc_cli.ending import SIGNALS, Ended, end_with_input, ends_in_order
from reflexarc_cli.evaluate_command import evaluate
from reflexarc_cli.evaluate_sentiment import sentiment
from reflexarc_cli.evaluate_window import optimal_purchase_window
from reflexarc_cli.identity_commands import HOUR_MS, installation, key, rotate_signing_key, tls, token
from reflexarc_cli.lines_command import lines
from reflexarc_cli.misuse import EXIT_STATUS, Misused
from reflexarc_cli.outbox_commands import outbox
from reflexarc_cli.people_commands import leads, visits
from reflexarc_cli.progress import Progress
from reflexarc_cli.sections import Sectioned
from reflexarc_cli.segments_command import segments
from reflexarc_cli.simulate_command import simulate
from reflexarc_cli.social_commands import social
from reflexarc_cli.store_commands import store
from reflexarc_cli.subject_commands import subject
from reflexarc_cli.sync_commands import sync
from reflexarc_cli.timeline_command import timeline
from reflexarc_cli.train_command import train
from reflexarc_core.errors import ReflexArcError

SEED: Final = click.IntRange(0, 2**32 - 1)


@click.group(cls=Sectioned, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(reflexarc.__version__, prog_name="reflexarc")
@click.option("--until-input-ends", is_flag=True, hidden=True, help="End with standard input: with whoever started this.")
def cli(until_input_ends: bool) -> None:
    """Behavioural triggers decided at the edge."""
    if until_input_ends:
        end_with_input()


@cli.command(short_help="Run the whole loop on simulated or real data.")
@click.option(
    "--data", "source", metavar="DIR|FILE", type=click.Path(path_type=Path), help="Real data; simulated shoppers without it."
)
@click.option("--map", "mapping", metavar="M", help="Mapping: a YAML file, or the name of a shipped one.")
@click.option("--days", type=click.IntRange(1, 365), default=28, show_default=True, help="Days to replay after the cut.")
@click.option("--kill", "kill_count", type=click.IntRange(0, 1000), default=0, help="kill -9 a process this many times.")
@click.option("--seed", type=SEED, default=1, show_default=True, help="Seed of the simulation, the kills and the training.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The server's port; any free one by default.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep everything in this new folder; a temporary one by default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def demo(
    source: Path | None, mapping: str | None, days: int, kill_count: int, seed: int, port: int, folder: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Run the whole loop: capture, train, decide offline, act, track results."""
    from reflexarc_cli.demo.driver import DemoPlan, demo_folder, run
    from reflexarc_cli.demo.page import render
    from reflexarc_cli.demo.source import open_source

    progress = Progress(quiet=False)
    with demo_folder(folder) as place:
        opened = open_source(source, mapping, seed, days, place, progress)
        found = run(DemoPlan(opened, days, kill_count, seed, port), place, progress)
    width = shutil.get_terminal_size((100, 24)).columns
    click.echo(json.dumps(found.to_json(), indent=None) if as_json else render(found, width), nl=as_json)
    if not found.holds:
        failed = ", ".join(invariant.name for invariant in found.invariants if not invariant.holds)
        raise ReflexArcError(f"an invariant does not hold: {failed}")


@cli.command(short_help="Run the server.")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="The server's folder, made if new.")
@click.option("--address", default="127.0.0.1:7443", show_default=True, help="host:port to listen on.")
@click.option(
    "--catalog", type=click.Path(path_type=Path), help="Catalog to serve until a bundle is published; the shipped one by default."
)
@click.option("--clock-file", type=click.Path(path_type=Path), help="Take the time from this file (a replay's clock).")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="PEM of the certificate, read again when it changes.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="PEM of its key.")
@click.option("--insecure", is_flag=True, help="In their place: plaintext and no authentication, on the loopback only.")
@click.option("--new-admin-key", is_flag=True, help="Write an admin key into the folder, for whoever lost theirs.")
@click.option("--calls-per-s", type=click.IntRange(1), help="Calls of one device or key, on the long run.")
@click.option("--bytes-per-s", type=click.IntRange(1), help="Bytes of one device or key, on the long run.")
@click.option("--records-per-s", type=click.IntRange(1), default=20_000, show_default=True, help="Of all devices together.")
@click.option("--credential-hours", type=click.IntRange(1, 720), default=24, show_default=True, help="Life of a credential.")
@click.option("--http", "http_address", metavar="ADDRESS", help="host:port for HTTP too: browsers, forms, mail, webhooks.")
@click.option("--site", "site_file", type=click.Path(path_type=Path), help="What HTTP serves: a site file (docs/site.md).")
@click.option("--trusted-proxy", "proxies", multiple=True, metavar="ADDRESS", help="A proxy that ends TLS for --http.")
def serve(
    data: Path, address: str, catalog: Path | None, clock_file: Path | None, tls_cert: Path | None, tls_key: Path | None,
    insecure: bool, new_admin_key: bool, calls_per_s: int | None, bytes_per_s: int | None, records_per_s: int,
    credential_hours: int, http_address: str | None, site_file: Path | None, proxies: tuple[str, ...],
) -> None:  # fmt: skip
    """Run the server: ingest, features, scoring, bundles, results."""
    from reflexarc.definitions import load_catalog
    from reflexarc_server.app import http_options, start_server
    from reflexarc_server.certificates import TlsFiles
    from reflexarc_server.clock import FileClock, SystemClock
    from reflexarc_server.collect import usual_body
    from reflexarc_server.identity.limits import limits_of
    from reflexarc_server.process import settle
    from reflexarc_server.site import WRITE_KEY_HINT, read_site

    clock = FileClock(clock_file) if clock_file is not None else SystemClock()
    if (tls_cert is None) != (tls_key is None):
        raise Misused("a certificate and its key go together", hint="give both --tls-cert and --tls-key")
    tls = TlsFiles(tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None
    limits = limits_of(calls_per_s, bytes_per_s)
    if http_address is None and (site_file is not None or proxies):
        raise Misused("--site and --trusted-proxy are about HTTP", hint="give --http HOST:PORT too")
    http = http_options(http_address, tls, proxies) if http_address is not None else None
    site = read_site(site_file) if site_file is not None else None
    server = start_server(
        data, address, load_catalog(catalog), clock, tls=tls, insecure=insecure, limits=limits,
        new_admin_key=new_admin_key, credential_life_ms=credential_hours * HOUR_MS, records_per_s=records_per_s,
        http=http, site=site,
    )  # fmt: skip
    if server.identity.admin_key_file is not None:
        click.echo(f"an admin key is in {server.identity.admin_key_file}", err=True)
    of_http = () if server.http is None else (usual_body.load,)
    settle(server.parts.fold.precedence, server.parts.ingest.scan.load, *of_http)
    click.echo(f"listening on {server.address}", err=True)
    if server.http is not None:
        click.echo(f"HTTP on {server.http.address}", err=True)
        if site is None or not site.web.keys:
            where = "give --site FILE, and in that file" if site_file is None else f"in {site_file}"
            click.echo(f"no write key is known, so nobody can send events over HTTP: {where} {WRITE_KEY_HINT}", err=True)
    stop = threading.Event()
    for name in SIGNALS:
        signal.signal(name, lambda *_: stop.set())
    stop.wait()
    server.stop()


@cli.command("import", short_help="Import events from a file into a server.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--map", "mapping", metavar="M", help="Mapping: a YAML file or a shipped name; found by the header by default.")
@click.option("--server", required=True, envvar="REFLEXARC_SERVER", metavar="ADDRESS", help="Server to import into.")
@click.option("--rejected", type=click.Path(path_type=Path), help="File for rows that were not taken, with the reason.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_access
def import_file(file: Path, mapping: str | None, server: str, rejected: Path | None, as_json: bool, access: Access) -> None:
    """Import events from a CSV, TSV or JSONL file; a second import adds nothing."""
    from reflexarc_cli.importing.command import import_into

    result = import_into(file, mapping, server, rejected, Progress(), access=access)
    _show(result, as_json)


@cli.command(short_help="Results against the holdout, from a server.")
@click.option("--server", required=True, envvar="REFLEXARC_SERVER", metavar="ADDRESS", help="host:port of the server.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_access
def results(server: str, as_json: bool, access: Access) -> None:
    """Results of every trigger against its holdout, from a server."""
    backend = access.backend(server)
    found = backend.results()
    backend.close()
    _show(found, as_json)


for command in (
    train,
    drift,
    lines,
    catalog,
    explain,
    stats,
    segments,
    simulate,
    social,
    store,
    sync,
    subject,
    outbox,
    doctor,
    evaluate,
    token,
    installation,
    key,
    rotate_signing_key,
    tls,
    email,
    visits,
    leads,
    timeline,
):
    cli.add_command(command)
evaluate.add_command(sentiment)
evaluate.add_command(optimal_purchase_window)


def _show(found: dict[str, Any], as_json: bool) -> None:
    click.echo(json.dumps(found) if as_json else json.dumps(found, indent=2, ensure_ascii=False))


def main() -> None:
    """Entry point of the command."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own lines on standard error would stand beside our one
    try:
        with ends_in_order():
            status = cli(standalone_mode=False)  # of a command that has one to tell, without an error
    except Ended as end:
        click.echo("interrupted", err=True)
        sys.exit(end.exit_status)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except RuntimeError as error:  # a signal while a class was being made, as in an import: Python wraps whatever is raised there
        if not isinstance(error.__cause__, Ended):
            raise
        click.echo("interrupted", err=True)
        sys.exit(error.__cause__.exit_status)
    except ReflexArcError as error:
        click.echo(f"reflexarc: {error}", err=True)
        sys.exit(EXIT_STATUS if isinstance(error, Misused) else 1)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        click.echo(f"reflexarc: {error.strerror or error}{place}", err=True)
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
