"""What can be wrong with a company as a whole: names, ways, loops, values, numbers.

Each check is a small function over a :class:`Whole` that yields problems; :data:`CHECKS` is the list.  A check
knows no verb: it sees edges, references, and what the step classes say about themselves.  They stand by subject, one
module each; what they share is in ``whole``.

The surprise: a whole may have holes, because it is checked although parts of it could not be read.  A check
whose answer a hole could change stays silent when ``incomplete`` is set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from callcontrol.routing.checks.lists import entries_of_lists, overlapping_lists
from callcontrol.routing.checks.menus import keys_and_extensions, keys_in_words, menus
from callcontrol.routing.checks.names import dangling_names
from callcontrol.routing.checks.numbers import caller_ids, emergency, outside
from callcontrol.routing.checks.people import codes, forgotten_rules, forward_circles, forwards, shared_phones
from callcontrol.routing.checks.queues import duties, levels, queues, skills
from callcontrol.routing.checks.recordings import recordings
from callcontrol.routing.checks.times import changes_of_clocks, never_on, one_way
from callcontrol.routing.checks.values import (
    given_lookups,
    room_for_state,
    room_for_values,
    spoken_variables,
    unset_variables,
)
from callcontrol.routing.checks.ways import loops, recursion, returns, unreachable
from callcontrol.routing.checks.whole import Whole
from callcontrol.routing.model import Problem

Check = Callable[[Whole], Iterable[Problem]]


def run(whole: Whole) -> list[Problem]:
    """Every problem that any check finds."""
    return [found for check in CHECKS for found in check(whole)]


CHECKS: tuple[Check, ...] = (
    dangling_names,
    unreachable,
    returns,
    loops,
    recursion,
    unset_variables,
    spoken_variables,
    room_for_values,
    room_for_state,
    keys_and_extensions,
    menus,
    keys_in_words,
    emergency,
    codes,
    forwards,
    forgotten_rules,
    forward_circles,
    shared_phones,
    outside,
    caller_ids,
    given_lookups,
    skills,
    levels,
    queues,
    duties,
    recordings,
    entries_of_lists,
    overlapping_lists,
    never_on,
    one_way,
    changes_of_clocks,
)

__all__ = ["CHECKS", "Check", "Whole", "run"]
