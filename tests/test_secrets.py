"""The secrets file: who may read it, what may stand in it, and that no mistake in it says a value."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from callcontrol.secrets import RESERVED, Secrets
from callcontrol.settings import SettingsError

GOOD = """\
lookups:
  acme:
    crm.acme.test: {Authorization: "Bearer geheim", X-Key: "a b\\tc"}
    CRM2.acme.test: {X-Key: geheim}
  volga:
"""


def read(directory: Path, text: str, mode: int = 0o600) -> Secrets:
    path = directory / "secrets.yaml"
    path.write_text(text)
    path.chmod(mode)
    return Secrets.read(path)


def test_headers_are_known_by_company_and_exact_host(tmp_path: Path) -> None:
    secrets = read(tmp_path, GOOD)
    assert secrets.headers("acme", "crm.acme.test") == (("Authorization", "Bearer geheim"), ("X-Key", "a b\tc"))
    assert secrets.headers("acme", "CRM.acme.test") == secrets.headers("acme", "crm.acme.test")
    assert secrets.headers("acme", "crm2.acme.test") == (("X-Key", "geheim"),)
    for company, host in (("acme", "acme.test"), ("acme", "x.crm.acme.test"), ("volga", "crm.acme.test"), ("", "")):
        assert secrets.headers(company, host) == ()


def test_a_file_that_is_not_there_holds_none(tmp_path: Path) -> None:
    assert Secrets.read(tmp_path / "none") == Secrets()


def test_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "secrets.yaml", 0o600)
    with pytest.raises(SettingsError, match="not a regular file"):
        Secrets.read(tmp_path / "secrets.yaml")


@pytest.mark.parametrize("text", ["", "lookups:", "lookups: {}", "# nothing yet"])
def test_an_empty_file_holds_none(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == Secrets()


def test_they_are_never_shown(tmp_path: Path) -> None:
    secrets = read(tmp_path, GOOD)
    assert "geheim" not in f"{secrets!r} {secrets}"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o644])
def test_a_file_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SettingsError, match="chmod 600"):
        read(tmp_path, GOOD, mode)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir(mode=0o700)
    with pytest.raises(SettingsError, match="secrets: the secrets cannot be read"):
        Secrets.read(tmp_path / "secrets")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lookups: {acme: {crm.test: {Authorization: geheim}", r"secrets\.yaml:\d+:\d+: this is not YAML"),
        ("lookups: {acme: {crm.test: {A: 'geheim}}}", "this is not YAML"),
        ("lookups: {acme: {crm.test: {A: *geheim}}}", "this is not YAML"),
        ("lookups: {acme: {crm.test: {A: !geheim x}}}", "this is not YAML"),
        ("lookups: {acme: {crm.test: {A: geheim\x07}}}", "this is not YAML in UTF-8"),
        ("geheim", "the file is not a mapping"),
        ("[geheim]", "the file is not a mapping"),
        ("lookup: geheim", "'lookup' means nothing here; the file has: lookups"),
        ("lookups: geheim", "lookups is not a mapping"),
        ("lookups: {acme: geheim}", r"lookups\.acme is not a mapping"),
        ("lookups: {acme: {crm.test: geheim}}", r"lookups\.acme\.crm\.test is not a mapping"),
        ("lookups: {acme: {crm.test: {1: geheim}}}", r"lookups\.acme\.crm\.test is not a mapping"),
        ("lookups: {acme: {crm.test: {[a]: geheim}}}", "YAML"),
        ("lookups: {Acme Windows: {crm.test: {A: geheim}}}", "'Acme Windows' is not the name of a company"),
        ("lookups: {acme: {'https://crm.test': {A: geheim}}}", "is not a host, such as"),
        ("lookups: {acme: {'crm.test:443': {A: geheim}}}", "is not a host, such as"),
        ("lookups: {acme: {'*.test': {A: geheim}}}", "is not a host, such as"),
        ("lookups: {acme: {crm.test: {'A B': geheim}}}", "'A B' is not the name of a header"),
        ("lookups: {acme: {crm.test: {'A:': geheim}}}", "'A:' is not the name of a header"),
        ('lookups: {acme: {crm.test: {"A\\r\\nB": geheim}}}', "is not the name of a header"),
        ("lookups: {acme: {crm.test: {Ключ: geheim}}}", "is not the name of a header"),
        ("lookups: {acme: {crm.test: {X-A: geheim, x-a: geheim}}}", "x-a stands there twice"),
        ("lookups: {acme: {crm.test: {X-A: 12345}}}", "the value of X-A is not text; write it in quotes"),
        ("lookups: {acme: {crm.test: {X-A: [geheim]}}}", "the value of X-A is not text"),
        ("lookups: {acme: {crm.test: {X-A: }}}", "the value of X-A is not text"),
        ('lookups: {acme: {crm.test: {X-A: "geheim\\r\\nB: c"}}}', "is not one line of plain characters"),
        ('lookups: {acme: {crm.test: {X-A: "geheim\\n"}}}', "is not one line of plain characters"),
        ('lookups: {acme: {crm.test: {X-A: "geheim\\0"}}}', "is not one line of plain characters"),
        ('lookups: {acme: {crm.test: {X-A: " geheim"}}}', "is not one line of plain characters"),
        ('lookups: {acme: {crm.test: {X-A: ""}}}', "is not one line of plain characters"),
        ("lookups: {acme: {crm.test: {X-A: geheimнет}}}", "is not one line of plain characters"),
        ("lookups: {acme: {crm.test: {X-A: " + "geheim" * 1000 + "}}}", "is not one line of plain characters"),
        ("#" * 2**20 + "geheim", "the file is longer than"),
    ],
)
def test_a_mistake_is_named_without_a_value(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "secrets.yaml"))
    assert "geheim" not in str(error.value)
    assert "12345" not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None


@pytest.mark.parametrize("name", ["Host", "CONTENT-LENGTH", "Transfer-Encoding", "connection", "Accept-Encoding"])
def test_what_the_lookup_answers_for_itself_cannot_be_set(tmp_path: Path, name: str) -> None:
    assert name.lower() in RESERVED
    with pytest.raises(SettingsError, match=f"the header {name} is not yours to set"):
        read(tmp_path, f"lookups: {{acme: {{crm.test: {{{name}: geheim}}}}}}")


def test_what_nobody_uses_is_told(tmp_path: Path) -> None:
    secrets = read(tmp_path, GOOD + "    old.volga.test: {X-Key: geheim}\n")
    assert secrets.strangers({"acme": {"CRM.acme.test"}}) == [
        "no lookup of acme asks crm2.acme.test: its secret is never used",
        "there is no company volga: its secret for old.volga.test is never used",
    ]
    everything = {"acme": {"crm.acme.test", "crm2.acme.test"}, "volga": {"old.volga.test", "other.test"}}
    assert secrets.strangers(everything) == []
