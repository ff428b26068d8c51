"""The table of settings in ``docs/detection.md``, made from ``Thresholds``."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap

from threadtrace.detect.config_checks import shown_number
from threadtrace.detect.thresholds import Thresholds


def thresholds_table() -> str:
    """Markdown: key, default, range and meaning of every threshold."""
    meanings = _meanings()
    rows = ["| key | default | from | to | |", "| --- | --- | --- | --- | --- |"]
    for field in dataclasses.fields(Thresholds):
        numbers = (field.default, field.metadata["min"], field.metadata["max"])
        shown = " | ".join(shown_number(field.name, number) for number in numbers)
        rows.append(f"| `{field.name}` | {shown} | {meanings[field.name]} |")
    return "\n".join(rows) + "\n"


def _meanings() -> dict[str, str]:
    """The docstrings of the fields, which Python itself does not keep."""
    source = textwrap.dedent(inspect.getsource(Thresholds))
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    meanings = {}
    for field, text in zip(definition.body, definition.body[1:]):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            words = " ".join(str(text.value.value).split())
            meanings[field.target.id] = words.replace("``", "`").replace("|", "\\|")
    return meanings
