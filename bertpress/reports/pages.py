"""Pages from the templates of this package: every value is escaped, a missing one is an error."""

from __future__ import annotations

from typing import Any


def page(template: str, context: dict[str, Any]) -> str:
    """A template, filled in."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("bertpress"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template(template).render(context)
