"""Templates to pages; the one module that knows Jinja, which is read in with the first page: a start waits for none.

Whatever a template prints is escaped, and spelled out where it would steer a terminal or turn the writing round: no
filter can be forgotten. Only what was made as markup passes as it is, and what a form sends back.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from reconcile.human import age, duration, label, size, visible
from reconcile.reports.forms import iso
from reconcile.reports.pageparts import house_style, minute

if TYPE_CHECKING:
    from jinja2 import Environment
    from jinja2.runtime import Context


def page(name: str, **told: Any) -> str:
    """Return a page by the name of its template; the template's context must hold all that it names."""
    return _environment().get_template(f"{name}.html").render(told)


def policy() -> str:
    """Return what a browser may do with a page: show it in our one style and with its own icon, send its form to us."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )


@cache
def style() -> str:
    """Return the style of every page: the house's, and our own."""
    return f"\n{house_style()}{_source('pages.css')}"


def markup(drawn: str) -> Markup:
    """Return what was escaped where it was made, such as a picture."""
    return Markup(drawn)  # noqa: S704 - the pictures' own module escapes each word


def _source(name: str) -> str:
    return (resources.files("consumer.pages") / "templates" / name).read_text("utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined, pass_context  # noqa: PLC0415 - see above

    made = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "ago": pass_context(_ago),
        "at": _at,
        "size": _size,
        "duration": duration,
        "label": label,
        "text": _text,
        "verbatim": escape,  # and nothing more: what a form sends back must be what was asked for
    }
    made.globals["style"] = markup(style())
    return made


def _shown(value: object) -> object:
    """Return what a template prints: numbers with their thousands, text with all of it visible, nothing for None."""
    match value:
        case Markup():
            return value
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case str():
            return visible(value)
        case _:
            return visible(str(value))


def _ago(context: Context, at: datetime | None) -> Markup:
    """Return how long ago something was, with the time itself for who asks."""
    return Markup("") if at is None else _time(at, age(at, context["now"]))


def _at(at: datetime | None) -> Markup:
    return Markup("") if at is None else _time(at, f"{minute(at)} UTC")


def _time(at: datetime, told: str) -> Markup:
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(iso(at), at.strftime("%F %T"), escape(told))


def _size(count: int | None) -> str:
    return "" if count is None else size(count)


def _text(value: object) -> str:
    """Return any value of an evidence in plain words, for a person."""
    match value:
        case datetime():
            return f"{value:%F %T} UTC"
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return ", ".join(f"{name} {_text(one)}" for name, one in value.items())
        case list() | tuple():
            return ", ".join(map(_text, value))
        case None:
            return ""
        case _:
            return str(value)
