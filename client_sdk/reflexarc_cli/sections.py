"""The commands by what somebody wants to do, for `reflexarc --help`.

Owns the table of sections. A command that it does not name is shown behind the others, never left out.
"""

from __future__ import annotations

from typing import Final

import click

SECTIONS: Final = {
    "To begin": ("demo", "doctor"),
    "Triggers and models": ("catalog", "simulate", "train", "evaluate", "lines", "drift"),
    "A server": ("serve", "import", "sync"),
    "What happened, and why": ("results", "explain", "segments", "visits", "timeline"),
    "Website, mail, other systems": ("leads", "outbox", "email", "social"),
    "People, devices and keys": ("subject", "installation", "token", "key", "rotate-signing-key", "tls"),
    "A device's store": ("store", "stats"),
}
OTHER: Final = "More"


class Sectioned(click.Group):
    """A group that shows its commands in sections."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        left = dict.fromkeys(name for name in self.list_commands(ctx) if not self.commands[name].hidden)
        width = max(map(len, left), default=0)
        for title, names in (*SECTIONS.items(), (OTHER, ())):
            rows = [name for name in (names or left) if name in left]
            for name in rows:
                del left[name]
            if rows:
                with formatter.section(title):
                    shown = [(name.ljust(width), self.commands[name].get_short_help_str(formatter.width)) for name in rows]
                    formatter.write_dl(shown)
