"""`reflexarc sync`: the words a person types to carry files between a device and its server. What they do is in
`reflexarc_cli.sync`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from reflexarc_cli.access import Access, with_access
from reflexarc_cli.misuse import Misused
from reflexarc_cli.progress import Progress
from reflexarc_cli.store_commands import AS_JSON, KEY_FILE

if TYPE_CHECKING:
    from reflexarc_cli.sync.delivering import Receiver


SERVER_VARIABLE: Final = "REFLEXARC_SERVER"
_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def _size(context: click.Context, param: click.Parameter, value: str | None) -> int:
    """A size: 700000000, 700MB, 4GB; 0 when none was given."""
    if value is None:
        return 0
    found = re.fullmatch(r"(\d{1,12})\s*([kmg]?)b?", value.strip().lower())
    if found is None:
        raise click.BadParameter(f"{value!r} is no size; write it as 700MB or 4GB")
    return int(found[1]) * _UNITS[found[2]]


_PATH: Final = click.Path(readable=False, path_type=Path)
FILE: Final = click.argument("file", type=_PATH)
STORE: Final = click.option("--store", metavar="FOLDER", required=True, type=_PATH, help="The device's store.")
SERVER: Final = click.option("--server", metavar="ADDRESS", help="A server that runs, host:port; REFLEXARC_SERVER by default.")
DATA: Final = click.option("--data", metavar="FOLDER", type=_PATH, help="The folder of a server that does not run.")


@click.group(short_help="Carry files between a device and its server.")
def sync() -> None:
    """Carry what a device and its server have for each other as files, where there is no network.

    \b
    On the device:   reflexarc sync export /media/stick/kiosk.sync --store FOLDER
    At the server:   reflexarc sync import /media/stick/kiosk.sync --server ADDRESS
    On the device:   reflexarc sync import /media/stick/kiosk.sync.answers --store FOLDER

    Once before, so that the files can be signed: reflexarc sync key on the device, reflexarc sync enrol at the server.
    """


@sync.command(short_help="On a device: write what its server has not acknowledged.")
@FILE
@STORE
@click.option(
    "--max-bytes", callback=_size, metavar="SIZE", help="Write FILE.001, FILE.002 and so on, none larger than this: 700MB, 4GB."
)
@click.option("--from", "from_seq", type=click.IntRange(min=1), help="Begin with this number, not behind what is acknowledged.")
@click.option("--unsigned", is_flag=True, help="Do not sign. Whoever takes the file has to say so as well.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@KEY_FILE
@AS_JSON
def export(
    file: Path, store: Path, max_bytes: int, from_seq: int | None, unsigned: bool, force: bool, key_file: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Write what the server has not acknowledged into FILE, to be taken there.

    THE FILE HOLDS WHAT WAS CAPTURED, signed but not encrypted: whoever has it has the data. Nothing is deleted from the store,
    and the application may go on running. An export that was cut short is run again; with --max-bytes it goes on behind the
    parts that are there.
    """
    from reflexarc_cli.store.place import seal_of, store_folder
    from reflexarc_cli.sync.exporting import PART_BYTES_MIN, Wanted
    from reflexarc_cli.sync.exporting import export as write_files
    from reflexarc_cli.sync.page import exported_page

    if file.is_dir() or not file.name:
        raise Misused(f"{file} is a folder", hint=f"name a file in it: {file / 'device.sync'}")
    if 0 < max_bytes < PART_BYTES_MIN:
        raise Misused(f"parts of {max_bytes:,} bytes are too small", hint=f"--max-bytes {PART_BYTES_MIN} at least")
    wanted = Wanted(file, max_bytes, from_seq or 0, unsigned, force)
    found = write_files(store_folder(store), wanted, seal_of(key_file))
    click.echo(json.dumps(found.to_json()) if as_json else exported_page(found))


@sync.command("import", short_help="At a server: take a device's files. On a device: take the answers.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=_PATH)
@click.option("--store", metavar="FOLDER", type=_PATH, help="A device's store, for its server's answers.")
@SERVER
@DATA
@click.option("--answers", metavar="FILE", type=click.Path(path_type=Path), help="Where the answers go; FILE.answers by default.")
@click.option("--unsigned", is_flag=True, help="Take a file that nobody signed.")
@KEY_FILE
@with_access
@AS_JSON
def import_(
    files: tuple[Path, ...], store: Path | None, server: str | None, data: Path | None, answers: Path | None, unsigned: bool,
    key_file: Path | None, access: Access, as_json: bool,
) -> None:  # fmt: skip
    """Take in what was carried here: a device's files at its server, or the server's answers on the device.

    Files are checked whole before anything of them is taken. They may come in any order and more than once. At a server the
    answers are written, to be taken back. On a device whose application runs, the application takes them. An import that was
    cut short is run again.
    """
    from reflexarc_cli.sync.page import delivered_page, delivered_to_json, received_page, received_to_json

    if store is None and data is None:
        server = server or os.environ.get(SERVER_VARIABLE)
    if sum(place is not None for place in (store, server, data)) != 1:
        raise Misused("where to?", hint="at a server --server ADDRESS or --data FOLDER, on a device --store FOLDER")
    if store is not None:
        from reflexarc_cli.store.place import store_folder
        from reflexarc_cli.sync.receiving import receive

        received = receive(store_folder(store), list(files), key_file, allow_unsigned=unsigned)
        click.echo(json.dumps(received_to_json(received)) if as_json else received_page(received))
        return
    from reflexarc_cli.sync.delivering import deliver

    total = sum(path.stat().st_size for path in files if path.is_file())
    with _receiver(server, data, access) as receiver, Progress(quiet=as_json).stage("bytes", total) as step:
        delivered = deliver(files, receiver, answers, allow_unsigned=unsigned, told=step)
    click.echo(json.dumps(delivered_to_json(delivered)) if as_json else delivered_page(delivered))


@sync.command(short_help="On a device: write the key that signs its files, to be made known at the server.")
@FILE
@STORE
@click.option("--force", is_flag=True, help="Replace the file when it is there.")
@KEY_FILE
def key(file: Path, store: Path, force: bool, key_file: Path | None) -> None:
    """Write the key that signs this device's files into FILE, to be made known at its server with reflexarc sync enrol.

    WHOEVER HAS THE FILE CAN SIGN AS THIS DEVICE. Delete it once the server knows the key. A device that enrolled over the
    network needs none of this.
    """
    from reflexarc_cli.store.place import seal_of, store_folder
    from reflexarc_cli.sync.keys import key_of_store, write_key

    if file.is_dir() or not file.name:
        raise Misused(f"{file} is a folder", hint=f"name a file in it: {file / 'device.key'}")
    found = key_of_store(store_folder(store), seal_of(key_file))
    write_key(file, found, force=force)
    click.echo(f"{file}: the key of installation {found.installation}")
    click.echo(f"at the server: reflexarc sync enrol {file.name} --server ADDRESS; then delete the file")


@sync.command(short_help="At a server: make the key of a device known that never was online.")
@FILE
@SERVER
@DATA
@click.option("--replace", is_flag=True, help="In place of another key, or although it was revoked.")
@with_access
def enrol(file: Path, server: str | None, data: Path | None, replace: bool, access: Access) -> None:
    """Make a device's key known to its server, from the FILE that reflexarc sync key wrote on the device."""
    from reflexarc_cli.sync.keys import read_key_file

    if data is None:
        server = server or os.environ.get(SERVER_VARIABLE)
    if (server is None) == (data is None):
        raise Misused("which server?", hint="--server ADDRESS, or --data FOLDER when it does not run")
    found = read_key_file(file)
    with _receiver(server, data, access) as receiver:
        was_known = receiver.enrol(found.installation, found.file_key, found.secret_digest, replace=replace)
    click.echo(f"installation {found.installation} {'was known already' if was_known else 'is known'}; delete {file}")


@contextmanager
def _receiver(server: str | None, data: Path | None, access: Access) -> Iterator[Receiver]:
    from reflexarc_cli.sync.delivering import Remote, still_server

    if data is not None:
        with still_server(data) as still:
            yield still
        return
    assert server is not None
    backend = access.backend(server)
    try:
        yield Remote(backend)
    finally:
        backend.close()
