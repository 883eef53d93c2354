"""Families of questions that plug-ins bring along: entry points of the group `paqa.questions`.

An entry point names a tuple of `QuestionTemplate`, all of one family (`task`), which has the entry point's
name. A recipe asks them by `questions.families`. In rows a template is called FAMILY.TEMPLATE, so that no two
clash.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from paqa import plugins
from paqa.errors import PaqaError
from paqa.questions.template import QuestionTemplate

GROUP: plugins.Group = "paqa.questions"
NAME = re.compile(r"[a-z][a-z0-9_]*")


def revisions(families: Sequence[str]) -> tuple[str, ...]:
    """Distribution and version of each family's plug-in; part of the keys of rows."""
    return tuple(_plugin(family).revision for family in families)


def template_of_plugin(name: str) -> QuestionTemplate | None:
    """The template that rows call `name`; None where no installed family has it."""
    family, dot, _ = name.partition(".")
    if not dot or plugins.find(GROUP, family) is None:
        return None
    return next((template for template in templates_of(family) if template.name == name), None)


@cache
def templates_of(family: str) -> tuple[QuestionTemplate, ...]:
    """A plug-in's templates under the names that rows give them; PaqaError where they are none."""
    plugin = _plugin(family)
    templates = plugin.load()
    if problem := _problem(templates, family):
        raise PaqaError(
            f"question family {family!r} of {plugin.origin}: {problem}; expected a tuple of QuestionTemplate "
            "as docs/plugins.md describes: tell its author"
        )
    return tuple(replace(template, name=f"{family}.{template.name}") for template in templates)


def _plugin(family: str) -> plugins.Plugin:
    plugin = plugins.find(GROUP, family)
    if plugin is None:
        names = ", ".join(sorted(plugins.named(GROUP))) or "none"
        raise PaqaError(
            f"questions.families: no plug-in has a family {family!r}; installed: {names}; install its "
            "package, or correct the name"
        )
    return plugin


def _problem(templates: object, family: str) -> str:
    """What is wrong with what an entry point names; empty where nothing is."""
    if not isinstance(templates, tuple) or not all(isinstance(t, QuestionTemplate) for t in templates):
        return f"found {type(templates).__name__} {templates!r:.80}"
    for template in templates:
        if template.task != family:
            return f"template {template.name!r} is of family {template.task!r}"
        if not NAME.fullmatch(template.name):
            return f"found a template named {template.name!r}, not lower-case letters, digits and _"
    names = [template.name for template in templates]
    doubled = [name for name in names if names.count(name) > 1]
    return f"two templates are named {doubled[0]!r}" if doubled else "" if names else "found no template"
