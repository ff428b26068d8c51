"""Text of strangers within Markdown: shown as it is, never taken for markup.

After the CommonMark specification 0.31, section 2.4, and what GitHub adds to it: tables, bare
addresses that become links, and mentions that notify people.
"""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

from threadtrace.text import printable

_SPECIAL = re.compile(r"([\\`*\[\]|~$!]|^\s*#)")
# Within a word an underscore marks nothing: names of limits stay readable.
_EDGE_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_ENTITIES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("@", "&#64;"))
_LINKS = ((re.compile(r"://"), "&#58;//"), (re.compile(r"\bwww\.", re.IGNORECASE), "www&#46;"))
_BACKTICKS = re.compile(r"`+")


def markdown_text(value: Any) -> Markup:
    """Any value as text within a line of Markdown; what is markup already stays."""
    if isinstance(value, Markup):
        return value
    text = printable(str(value))
    for character, entity in _ENTITIES:
        text = text.replace(character, entity)
    text = _SPECIAL.sub(r"\\\1", text.replace("&#", "\0")).replace("\0", "&#")
    text = _EDGE_UNDERSCORE.sub(r"\\_", text)
    for pattern, replacement in _LINKS:
        text = pattern.sub(replacement, text)
    return Markup(text)  # noqa: S704 - all that is special is escaped above


def markdown_code(value: Any) -> Markup:
    """A code span; its fence is longer than any that is in the text. Not for table cells."""
    text = printable(str(value))
    longest = max(map(len, _BACKTICKS.findall(text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return Markup(f"{fence}{space}{text}{space}{fence}")  # noqa: S704 - nothing ends the span
