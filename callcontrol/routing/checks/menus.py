"""Menus: keys that answer, keys that are extensions as well or begin some, keys that the words name and do not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from callcontrol.routing.checks import pressing
from callcontrol.routing.checks.whole import Whole, steps_of
from callcontrol.routing.codes import problem
from callcontrol.routing.model import Edge, Problem, Prompt, Routing, Text
from callcontrol.routing.nodes import quoted
from callcontrol.steps.base import THEN, Step


def keys_and_extensions(whole: Whole) -> Iterator[Problem]:
    """A menu key that is also a whole extension there, and keys and extensions that begin others there.

    A pause of two seconds tells the latter apart, which everybody has to wait who presses the shorter one.
    """
    routing = whole.routing
    for step in steps_of(routing):
        keys = step.values.get("keys")
        if not isinstance(keys, Mapping) or not step.values.get("extensions"):
            continue
        direct = _direct(routing, step)
        for extension in direct & keys.keys():
            who = _who(routing, extension)
            message = f"key {extension} is also the extension of {who}, who can be dialled here"
            yield problem("E412", keys[extension].place, message)
        slow = [key for key in keys if key not in direct and any(one.startswith(key) for one in direct)]
        if slow:
            begun = _extensions(sorted(one for one in direct if one.startswith(tuple(slow))))
            message = f"key {slow[0]} begins {begun}: who presses it"
            if len(slow) > 1:
                message = f"keys {_listed(slow)} begin {begun}: who presses one"
            yield problem("W528", keys[slow[0]].place, f"{message} waits two seconds for more digits")
        for extension in sorted(direct - keys.keys()):
            longer = sorted(one for one in direct if one.startswith(extension) and one != extension)
            if longer:
                message = f"extension {extension} begins {_extensions(longer)}: who dials it waits two seconds for more"
                yield problem("W528", step.place, message)


def _direct(routing: Routing, step: Step) -> set[str]:
    """The extensions that may be dialled in a menu."""
    found: set[str] = set()
    for target in step.values.get("extensions") or ():
        group = routing.groups.get(target.group)
        found.update((target.person,) if target.person else group.members if group else ())
    return found


def _extensions(some: Sequence[str]) -> str:
    if len(some) == 1:
        return f"the extension {some[0]}"
    more = f"{some[1]}" if len(some) == 2 else f"{len(some) - 1} others"
    return f"the extensions {some[0]} and {more}"


def _who(routing: Routing, extension: str) -> str:
    person = routing.people.get(extension)
    return person.name if person else extension


def menus(whole: Whole) -> Iterator[Problem]:
    """A menu that no key answers, and a ``then`` of one at which nobody can be dialled."""
    for step in steps_of(whole.routing):
        if step.values.get("extensions") != () or "keys" not in step.values:
            continue
        if not step.values["keys"]:
            yield problem("E415", step.place, "no key answers here: add keys, or extensions")
        elif THEN in step.edges:
            message = "then follows a talk with an extension dialled here, and there are no extensions"
            yield problem("E407", step.edges[THEN].place, message)


# ------------------------------------------------------------------------------- what the words say of keys


def keys_in_words(whole: Whole) -> Iterator[Problem]:
    """Texts of menus and queues that name a key which is none there, and a key that only the text leaves out.

    0, star and hash are often left unsaid on purpose.
    """
    routing = whole.routing
    for step in steps_of(routing):
        keys, prompt = step.values.get("keys"), step.values.get(step.verb)
        if not isinstance(keys, Mapping) or not isinstance(prompt, Prompt):
            continue
        direct = _direct(routing, step)
        others = {extension for extension in direct if len(extension) == 1} | ({"#"} if direct else set())
        if keys or direct:  # else that is said already
            yield from _not_there(routing, prompt, keys, others, "this menu")
        yield from _not_said(routing, prompt, {key: edge for key, edge in keys.items() if key in "123456789"})
    for queue in routing.queues.values():
        steps = [routing.step(*at) for at in whole.entering.get(queue.name, ())]
        if whole.incomplete:
            continue
        known = {*queue.keys, *(key for step in steps if step is not None for key in step.values.get("keys", ()))}
        for announcement in queue.announce:
            yield from _not_there(routing, announcement.say, known, (), "this queue")


def _not_there(
    routing: Routing, prompt: Prompt, keys: Collection[str], others: Collection[str], where: str
) -> Iterator[Problem]:
    """``others``: what may be pressed besides the keys; a hash ends an extension."""
    for language, text in _texts(routing, prompt):
        for key, words in pressing.named(text.text, language).items():
            if key not in keys and key not in others:
                there = f": it has {_listed(keys)}" if keys else ": it has none"
                message = f"the text says {quoted(words)}, and {_spelt(key)} is no key of {where}{there}"
                yield problem("W529", text.place, message)


def _not_said(routing: Routing, prompt: Prompt, keys: Mapping[str, Edge]) -> Iterator[Problem]:
    texts = _texts(routing, prompt)
    if len(texts) < len(prompt.sayings):  # a sound may say whatever is left out
        return
    for language, text in texts:
        unsaid = [key for key in keys if not pressing.mentions(text.text, language, key)]
        if len(unsaid) == 1 and len(keys) > 1 and pressing.named(text.text, language):
            message = f"the text names every key but {unsaid[0]}, which leads to {keys[unsaid[0]]}"
            yield problem("W530", text.place, message)


def _texts(routing: Routing, prompt: Prompt) -> list[tuple[str, Text]]:
    """The texts of a prompt, each with the language that it is in."""
    default = routing.languages[0] if routing.languages else ""
    return [(tag or default, one) for tag, one in prompt.sayings.items() if isinstance(one, Text)]


def _listed(keys: Collection[str]) -> str:
    """Keys for a message, as operators write them."""
    words = [_spelt(key) for key in sorted(keys, key="1234567890*#".index)]
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _spelt(key: str) -> str:
    return {"*": "star", "#": "hash"}.get(key, key)
