"""Text that can stand inside of a rationale's tags and forge none of them."""

from __future__ import annotations

import json
import re

_ESCAPED = re.compile(r"\\\\|(?:\\u[0-9a-f]{4})+|\\[bfnrt]")


def escape(text: str, reserved: str = "") -> str:
    """The text on one line, without tags or outer spaces; `unescape` gives it back.

    A text that happens to be the `reserved` sentence has its first letter escaped.
    """
    body = "".join(c if c.isprintable() and c not in "<>\\" else _escape_code(c) for c in text)
    head, tail = len(body) - len(body.lstrip(" ")), len(body.rstrip(" "))
    body = "\\u0020" * head + body[head : max(head, tail)] + "\\u0020" * (len(body) - max(head, tail))
    return f"\\u{ord(body[0]):04x}{body[1:]}" if reserved and body == reserved else body


def unescape(text: str) -> str:
    """The inverse of `escape`; a backslash that begins no escape stays as it is."""
    return _ESCAPED.sub(lambda m: str(json.loads(f'"{m[0]}"')), text)


def _escape_code(c: str) -> str:
    return f"\\u{ord(c):04x}" if c in "<>" else json.dumps(c)[1:-1]


def tagless(text: str) -> str:
    """Prose with other brackets in the place of angle ones."""
    return text.replace("<", "‹").replace(">", "›")
