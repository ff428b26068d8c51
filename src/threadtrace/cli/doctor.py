"""``threadtrace doctor``: what works here, what does not, and what mends it."""

from __future__ import annotations

import os
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path

import click

from threadtrace.cli.options import host_root_option, max_cgroups_option, refusal_hook_option
from threadtrace.probe.plan import RefusalHook

_INDENT = " " * 25
_WIDTH = 75
_MARKS = {"ok": ("ok", "green"), "limited": ("limited", "yellow"), "missing": ("MISSING", "red")}


@click.command()
@max_cgroups_option
@host_root_option
@refusal_hook_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
def doctor(max_cgroups: int, host_root: Path, refusal_hook: RefusalHook, as_json: bool) -> int:
    """Tell what works on this host, what does not, and the command that mends it.

    Exit code 0 when the live view will work, 69 when it will not.
    """
    import orjson

    from threadtrace.agent import AgentOptions
    from threadtrace.doctor import State, examine
    from threadtrace.errors import OutputError
    from threadtrace.output.fields import known

    if sys.stdout is None:
        raise OutputError("standard output is closed: redirect it to a file")
    checks = examine(AgentOptions(max_cgroups, host_root, refusal_hook=refusal_hook))
    works = all(check.state is not State.MISSING for check in checks)
    if as_json:
        report = {"is_working": works, "checks": [known(asdict(check)) for check in checks]}
        click.echo(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
    else:
        for check in checks:
            mark, colour = _MARKS[check.state.value]
            head = click.style(f"{mark:8}", fg=colour) + f"{check.name:17}"
            click.echo(head + _wrapped(check.detail))
            if check.remedy:
                click.echo(_INDENT + _wrapped(f"-> {check.remedy}"))
        click.echo("The live view will work." if works else "The live view will not work.")
    return os.EX_OK if works else os.EX_UNAVAILABLE


def _wrapped(text: str) -> str:
    lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return f"\n{_INDENT}".join(lines)
