"""The README's first steps with the API are good."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from werkzeug.datastructures import Headers

from tests.web.conftest import Web
from tests.web.test_agents import agent
from webhooks.app import door
from webhooks.app.openapi import operations

README = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
CHAPTER = README.partition("\n## The API\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("line", re.findall(r"^\$ pbx (.*)$", CHAPTER, re.MULTILINE))
def test_what_is_asked_with_curl_is_answered(web: Web, line: str) -> None:
    web.controllers.answers |= {"call.place": {"call": "x"}, "agent.list": {"agents": [agent("301")]}}
    url, *more = shlex.split(line)
    options = list(zip(more[::2], more[1::2], strict=True))
    headers = Headers()
    for name, _, value in (value.partition(": ") for option, value in options if option == "-H"):
        headers[name] = value
    headers["Authorization"] = f"Bearer {web.token('consumer')}"
    bodies = [value for option, value in options if option == "-d"]
    path = url.removeprefix("http://127.0.0.1:8085")
    method = "POST" if bodies else "GET"
    headers["Content-Type"] = "application/json"
    response = web.app.test_client().open(path, method=method, headers=headers, data=bodies[0] if bodies else None)
    assert response.status_code in (200, 201, 202), response.get_data(as_text=True)


def test_every_subject_is_named_and_the_limits_are_those(web: Web) -> None:
    spec = web.app.test_client().get("/v1/openapi.json").json
    assert spec is not None
    for path, _, _ in operations(spec):
        assert path.split("/")[2] in CHAPTER
    assert door.LIMIT.replace(" per ", " requests a ") in CHAPTER
    assert f"{door.LONGEST_BODY // 1024} kB" in CHAPTER
