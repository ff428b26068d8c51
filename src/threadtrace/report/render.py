"""A report as Markdown, HTML or JSON."""

from __future__ import annotations

import dataclasses
import re
from enum import Enum
from typing import Any

import jinja2
import orjson

from threadtrace.report import escaping, plot, textplot, words
from threadtrace.report.model import LimitUse, Report
from threadtrace.text import printable

FORMATS = ("md", "html", "json")

_TIME_SUFFIX = "_ns"
_BLANK_LINES = re.compile(r"\n{3,}")  # what the templates' own conditions leave behind


def render(report: Report, format_name: str) -> bytes:
    """The whole document, UTF-8, ended by a line end.

    Args:
        report: what to show.
        format_name: one of ``FORMATS``.
    """
    if format_name == "json":
        return orjson.dumps(plain(report), option=orjson.OPT_APPEND_NEWLINE)
    environment = _html() if format_name == "html" else _markdown()
    template = environment.get_template(f"report.{format_name}.j2")
    within = (report.about.start_ns, report.about.end_ns)
    text = template.render(report=report, within=within)
    return (_BLANK_LINES.sub("\n\n", text).strip() + "\n").encode("utf-8", "replace")


def plain(value: Any, name: str = "") -> Any:
    """Plain data for JSON: what is not known is left out, times are as in events."""
    if dataclasses.is_dataclass(value):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {
            key.removesuffix(_TIME_SUFFIX): plain(inner, key)
            for key, inner in fields
            if inner is not None
        }
    if isinstance(value, tuple):
        return [plain(inner, name) for inner in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if name.endswith(_TIME_SUFFIX) and isinstance(value, int):
        return words.rfc3339(value)
    return value


def _html() -> jinja2.Environment:
    environment = _environment(finalize=_shown)
    environment.globals.update(
        task_svg=plot.task_svg, refusal_svg=plot.refusal_svg, layer_class=plot.layer_class
    )
    return environment


def _markdown() -> jinja2.Environment:
    """Everything that a template inserts is escaped for Markdown, unless it is markup already."""
    environment = _environment(finalize=escaping.markdown_text)
    environment.filters.update(code=escaping.markdown_code)
    environment.globals.update(task_lines=textplot.task_lines, refusal_lines=textplot.refusal_lines)
    return environment


def _shown(value: Any) -> Any:
    """Nothing that reorders or hides text; HTML itself is escaped by Jinja2."""
    return printable(value) if type(value) is str else value


def _environment(**settings: Any) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("threadtrace.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        **settings,
    )
    environment.filters.update(
        name=words.short_name,
        percent=words.percent,
        per_second=words.rate,
        moment=words.day_and_time,
        time=words.short_time,
        counted=words.plural,
        limit=_limit,
    )
    environment.globals.update(duration=words.duration)
    return environment


def _limit(use: LimitUse) -> str:
    return words.limit_words(use.limit, use.limit_owner, use.limit_value)
