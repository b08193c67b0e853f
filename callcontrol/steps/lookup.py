"""``lookup``: ask a company's own service.  Known to the language; not built: calls take ``failed``."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from callcontrol.routing import kinds
from callcontrol.steps.base import Run, Step, View


class Lookup(Step):
    """Fetch a JSON object and take the named keys from it.  Not built yet: a call takes ``failed``.

    ```yaml
    who:
      lookup: https://crm.acme.test/orders/{order}
      into: [manager]
      wait: 2s
      then: manager
      otherwise: reception/vip
    ```

    then: every key is in its variable
    not_found: the service does not know what was asked for
    failed: the service did not answer in time, or not as it should
    """

    verb = "lookup"
    outcomes = ("not_found", "failed")
    then = "required"
    not_yet = "failed"

    class Fields(ma.Schema):
        """lookup: the address that is asked; variables stand behind the host only
        into: the keys to take; each becomes a variable of the same name
        wait: how long the service may take
        """

        lookup = kinds.UrlField(required=True)
        into = kinds.VariablesField(required=True)
        wait = kinds.DurationField(0.5, 10, load_default=2.0)

    what: str
    into: tuple[str, ...]
    wait: float

    def run(self, call: View, progress: dict[str, Any]) -> Run:
        call.why("lookups are not built yet")
        return "failed"
        yield
