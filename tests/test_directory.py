"""The phones' directory: who has a password, who can read it, what the switch is given."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from callcontrol import directory as d
from callcontrol import wire
from callcontrol.cli import main
from callcontrol.publishing import publish
from callcontrol.settings import Config, SettingsError
from callcontrol.versions import VersionStore
from tests.releases import publish_yes

SECRET = "hunter2hunter2"
OTHER = "correct-horse-battery"
DOMAIN = "cordboard.test"
Logs = list[MutableMapping[str, Any]]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "passwords.yaml"


def written(path: Path, text: str, permissions: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(permissions)
    return path


class TestReading:
    def test_every_name_and_value_is_text(self, file: Path) -> None:
        found = d.read_passwords(
            written(file, "acme:\n  301: 1234567890\n  '0302': 12:30:00:00\n'true': {1: nullnull}\n")
        )
        assert found.phones() == [("acme", "0302"), ("acme", "301"), ("true", "1")]
        assert found.get("acme", "301") == "1234567890"
        assert found.get("acme", "0302") == "12:30:00:00"

    def test_a_file_that_is_not_there_or_empty_has_no_passwords(self, file: Path) -> None:
        assert d.read_passwords(file).phones() == []
        assert d.read_passwords(written(file, "# nothing yet\n")).phones() == []

    @pytest.mark.parametrize("permissions", [0o640, 0o604, 0o660, 0o601])
    def test_what_others_can_read_is_refused(self, file: Path, permissions: int) -> None:
        with pytest.raises(SettingsError, match=f"chmod 600 {file}"):
            d.read_passwords(written(file, f"acme: {{301: {SECRET}}}", permissions))

    def test_a_pipe_does_not_keep_us_waiting(self, file: Path) -> None:
        os.mkfifo(file, 0o600)
        with pytest.raises(SettingsError, match="not a regular file"):
            d.read_passwords(file)

    def test_a_file_without_end_is_refused(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(d, "LARGEST_FILE", 20)
        with pytest.raises(SettingsError, match="longer than 20 bytes"):
            d.read_passwords(written(file, f"acme: {{301: {SECRET}}}"))

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            (SECRET, ":1:1"),
            (f"- {SECRET}", ":1:1"),
            (f"acme: {SECRET}", ":1:7"),
            (f"acme: [{SECRET}]", ":1:7"),
            (f"acme: {{301: [{SECRET}]}}", ":1:13"),
            (f"acme: {{301: {{a: {SECRET}}}}}", ":1:13"),
            ("acme: {301: short}", ":1:13"),
            ("acme: {301: }", ":1:13"),
            (f"acme: {{301: {SECRET * 20}}}", ":1:13"),
            (f"acme: {{301: {SECRET} with-a-space}}", ":1:13"),
            (f"acme: {{301: {SECRET}пароль}}", ":1:13"),
            (f'acme: {{301: "{SECRET}\\n"}}', ":1:13"),
            (f'acme: {{301: "{SECRET}\\0"}}', ":1:13"),
            (f"acme: {{anna: {SECRET}}}", ":1:8"),
            (f"acme: {{'301@x': {SECRET}}}", ":1:8"),
            (f"acme: {{1234567: {SECRET}}}", ":1:8"),
            (f"acme: {{٣٠١: {SECRET}}}", ":1:8"),
            (f"../acme: {{301: {SECRET}}}", ":1:1"),
            (f"Acme: {{301: {SECRET}}}", ":1:1"),
            (f"acme.evil: {{301: {SECRET}}}", ":1:1"),
            (f"? [acme]\n: {{301: {SECRET}}}", ":1:3"),
            (f"acme: {{301: {SECRET}, 301: {OTHER}}}", ":1:29"),
            (f"acme: {{301: {SECRET}}}\nacme: {{302: {OTHER}}}", ":2:1"),
            (f"acme: &a {{301: {SECRET}}}\nbolt: *a", ":1:7"),
            (f"acme: {{301: {SECRET}}}\n--- {{}}", ":2:1"),
            (f"acme: {{301: {SECRET}", ""),
            (f"acme: !!python/object:{SECRET} x", ":1:7"),
            (f"acme: '{SECRET}", ""),
            (f"acme: @{SECRET}", ":1:7"),
            ("[" * 200_000, ":1:1"),
            ("acme: " + "{301: " * 200_000, ":1:13"),
            ("acme: {301: " + "[" * 200_000, ":1:13"),
            ("---", ":2:1"),
        ],
    )
    def test_a_mistake_is_named_by_its_place_and_never_shown(self, file: Path, text: str, place: str) -> None:
        with pytest.raises(SettingsError) as wrong:
            d.read_passwords(written(file, text))
        assert str(wrong.value).startswith(f"{file}{place}")
        assert SECRET not in str(wrong.value)
        assert OTHER not in str(wrong.value)

    @pytest.mark.parametrize("raw", [b"\xff\xfeacme", b"acme: {301: \xff\xff\xff\xff\xff\xff\xff\xff\xff}", b"\0\0"])
    def test_what_is_no_text_is_refused(self, file: Path, raw: bytes) -> None:
        file.write_bytes(raw)
        file.chmod(0o600)
        with pytest.raises(SettingsError, match=r"passwords\.yaml"):
            d.read_passwords(file)

    def test_passwords_are_not_shown_by_accident(self, file: Path) -> None:
        found = d.read_passwords(written(file, f"acme: {{301: {SECRET}}}"))
        assert SECRET not in repr(found) + str(found) + f"{found!r}"


PHONES = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True),
    st.dictionaries(
        st.from_regex(r"[0-9]{1,6}", fullmatch=True),
        st.from_regex(r"[!-~]{8,40}", fullmatch=True),
        min_size=1,
        max_size=4,
    ),
    max_size=4,
)


class TestWriting:
    @given(PHONES)
    @settings(deadline=None)  # a busy machine is no failure
    def test_what_is_written_is_read_as_it_was(self, phones: dict[str, dict[str, str]]) -> None:
        text = d.Passwords(phones).text()
        again = d._typed(Path("x"), text)
        assert again.phones() == d.Passwords(phones).phones()
        assert all(again.get(c, e) == password for c, found in phones.items() for e, password in found.items())
        assert again.text() == text

    def test_the_order_is_that_of_the_names(self) -> None:
        one = d.Passwords({"b": {"2": SECRET, "1": SECRET}, "a": {"3": SECRET}})
        two = d.Passwords({"a": {"3": SECRET}, "b": {"1": SECRET, "2": SECRET}})
        assert one.text() == two.text()
        assert re.findall(r"^ *'?(\w+)'?:", one.text(), re.MULTILINE) == ["a", "3", "b", "1", "2"]

    def test_nobody_else_can_read_it_at_any_moment(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[tuple[str, int, bool]] = []
        real = os.replace

        def replace(old: str, new: Path) -> None:
            seen.extend((path.name, mode(path), SECRET in path.read_text()) for path in file.parent.iterdir())
            real(old, new)

        monkeypatch.setattr(os, "replace", replace)
        before = os.umask(0)
        try:
            with d.changing(file) as passwords:
                passwords.set("acme", "301", SECRET)
        finally:
            os.umask(before)
        ((name, permissions, whole),) = seen
        assert (name.startswith(".new-"), permissions, whole) == (True, 0o600, True)
        assert [(path.name, mode(path)) for path in file.parent.iterdir()] == [(file.name, 0o600)]

    def test_a_disk_that_takes_nothing_leaves_the_old_file_and_nothing_else(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written(file, f"acme: {{301: {SECRET}}}\n")

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(SettingsError, match="No space left"), d.changing(file) as passwords:
            passwords.set("acme", "302", OTHER)
        assert file.read_text() == f"acme: {{301: {SECRET}}}\n"
        assert [path.name for path in file.parent.iterdir()] == [file.name]

    def test_a_change_that_fails_half_way_is_not_written(self, file: Path) -> None:
        with pytest.raises(ValueError, match="an extension is"), d.changing(file) as passwords:  # noqa: PT012
            passwords.set("acme", "301", SECRET)
            passwords.set("acme", "anna", SECRET)
        assert not file.exists()

    def test_what_nobody_changed_is_not_written(self, file: Path) -> None:
        written(file, f"# mine\nacme: {{301: {SECRET}}}\n")
        with d.changing(file):
            pass
        assert file.read_text().startswith("# mine")

    def test_a_link_stays_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        link = tmp_path / "passwords.yaml"
        link.symlink_to(tmp_path / "elsewhere" / "real.yaml")
        with d.changing(link) as passwords:
            passwords.set("acme", "301", SECRET)
        assert link.is_symlink()
        assert mode(tmp_path / "elsewhere" / "real.yaml") == 0o600

    def test_two_who_change_it_at_the_same_time_lose_nothing(self, file: Path) -> None:
        def add(first: int) -> None:
            for extension in range(first, first + 20):
                with d.changing(file) as passwords:
                    passwords.set("acme", str(extension), SECRET)

        threads = [threading.Thread(target=add, args=(first,)) for first in (100, 200, 300)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(d.read_passwords(file).phones()) == 60

    def test_a_password_is_long_and_has_no_look_alikes(self) -> None:
        made = {d.make_password() for _ in range(200)}
        assert len(made) == 200
        assert all(len(password) >= 20 and not set(password) & set("0OoIl1i") for password in made)
        assert all(d.PASSWORD.fullmatch(password) for password in made)


# ------------------------------------------------------------------------------------------ the command

ACME = """\
cordboard: 1
company: Acme
country: RU
timezone: Europe/Moscow
languages: [en]
numbers:
  "+74951230001": {flow: straight}
people:
  301: {name: "Anna <&\\"'> ]]> O'Neil"}
  302: {name: Boris}
flows:
  straight:
    anna: {dial: 301, then: hangup, otherwise: refuse}
    refuse: {hangup: busy}
"""
BOLT = ACME.replace("+74951230001", "+74951230002").replace("company: Acme", "company: Bolt")


class Operator:
    """Somebody with a directory of routing and a cordboaryaml."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.routing = home / "routing"
        self.routing.mkdir()
        (self.routing / "acme.yaml").write_text(ACME)
        (self.routing / "bolt.yaml").write_text(BOLT)
        written(home / "secret", "x")
        (home / "cordboard.yaml").write_text("switches: [{name: switch1, password_file: secret}]\n")
        self.file = home / "passwords.yaml"
        self.state = home / "state"

    def runs(self, *arguments: str) -> tuple[int, str]:
        environment = {"CORDBOARD_CONFIG": str(self.home / "cordboard.yaml"), "CORDBOARD_DOMAIN": "pbx.test"}
        result = CliRunner().invoke(main, ["passwords", *arguments], env=environment)
        return result.exit_code, result.output

    def makes(self, *more: str) -> tuple[int, str]:
        return self.runs(str(self.routing), *more)

    def password(self, company: str, extension: str) -> str:
        found = d.read_passwords(self.file).get(company, extension)
        assert found is not None
        return found

    def publishes(self, domain: str = DOMAIN, publish: Callable[..., object] = publish) -> bool:
        store = VersionStore(self.state)
        config = Config((), passwords=self.file)
        changed: list[bool] = []
        publish(
            self.routing,
            store,
            announce=lambda found: changed.append(d.write_directory(found, config, self.state, domain)),
        )
        return changed == [True]

    @property
    def directory(self) -> Path:
        return self.state / "directory"


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


class TestCommand:
    def test_every_extension_gets_one_and_none_is_printed(self, operator: Operator) -> None:
        code, said = operator.makes()
        assert code == 0
        assert "acme: made a password for 301, 302" in said
        phones = d.read_passwords(operator.file).phones()
        assert phones == [("acme", "301"), ("acme", "302"), ("bolt", "301"), ("bolt", "302")]
        assert len({operator.password(*phone) for phone in phones}) == 4
        assert not [phone for phone in phones if operator.password(*phone) in said]

    def test_again_it_changes_nothing(self, operator: Operator) -> None:
        operator.makes()
        before = operator.file.stat()
        assert operator.makes() == (0, "Every phone has a password.\n")
        assert operator.file.stat().st_ino == before.st_ino

    def test_one_that_is_there_stays(self, operator: Operator) -> None:
        written(operator.file, f"acme: {{301: {SECRET}}}\n")
        code, said = operator.makes()
        assert (code, "acme: made a password for 302" in said) == (0, True)
        assert operator.password("acme", "301") == SECRET

    def test_one_is_shown_with_what_else_a_phone_needs(self, operator: Operator) -> None:
        operator.makes()
        code, said = operator.runs("--show", "acme", "301")
        assert code == 0
        assert [line.split()[-1] for line in said.splitlines()] == [
            "acme.pbx.test",
            "301",
            operator.password("acme", "301"),
        ]
        assert operator.password("acme", "302") not in said

    def test_one_is_replaced_and_the_others_are_not(self, operator: Operator) -> None:
        operator.makes()
        old = {phone: operator.password(*phone) for phone in d.read_passwords(operator.file).phones()}
        code, said = operator.runs("--new", "acme", "301")
        new = {phone: operator.password(*phone) for phone in old}
        assert code == 0
        assert [phone for phone in old if old[phone] != new[phone]] == [("acme", "301")]
        assert new["acme", "301"] not in said

    @pytest.mark.parametrize("option", ["--show", "--new"])
    @pytest.mark.parametrize("phone", [("acme", "399"), ("nobody", "301"), ("../x", "a b")])
    def test_a_phone_that_has_none_is_a_usage_error(
        self, operator: Operator, option: str, phone: tuple[str, str]
    ) -> None:
        operator.makes()
        before = operator.file.read_text()
        code, said = operator.runs(option, *phone)
        assert (code, "has no password" in said) == (2, True)
        assert operator.file.read_text() == before

    def test_one_whose_phone_is_gone_is_told_of_and_kept(self, operator: Operator) -> None:
        operator.makes()
        (operator.routing / "acme.yaml").write_text(ACME.replace("  302: {name: Boris}\n", ""))
        (operator.routing / "bolt.yaml").unlink()
        code, said = operator.makes()
        assert code == 0
        assert all(f"{phone}: is not in routing" in said for phone in ("acme 302", "bolt 301", "bolt 302"))
        assert len(d.read_passwords(operator.file).phones()) == 4

    def test_and_removed_when_asked_for(self, operator: Operator) -> None:
        operator.makes()
        (operator.routing / "bolt.yaml").unlink()
        code, said = operator.makes("--forget-gone")
        assert (code, said.count("forgotten")) == (0, 2)
        assert d.read_passwords(operator.file).phones() == [("acme", "301"), ("acme", "302")]

    def test_a_company_with_errors_is_left_alone_and_is_exit_code_1(self, operator: Operator) -> None:
        operator.makes()
        (operator.routing / "acme.yaml").write_text(ACME.replace("dial: 301", "dial: 399"))
        code, said = operator.makes("--forget-gone")
        assert code == 1
        assert "acme: has errors and was left alone" in said
        assert len(d.read_passwords(operator.file).phones()) == 4

    def test_nobody_is_gone_from_a_directory_that_is_empty(self, operator: Operator) -> None:
        operator.makes()
        (operator.home / "empty").mkdir()
        code, said = operator.runs(str(operator.home / "empty"), "--forget-gone")
        assert (code, "no company here" in said) == (1, True)
        assert len(d.read_passwords(operator.file).phones()) == 4

    def test_what_could_not_be_written_is_not_said_to_be_made(
        self, operator: Operator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        code, said = operator.makes()
        assert (code, "made" in said, "No space left" in said) == (3, False, True)

    def test_usage(self, operator: Operator) -> None:
        assert operator.runs()[0] == 2
        assert operator.makes("--show", "acme", "301", "--forget-gone")[0] == 2
        assert operator.runs("--show", "acme")[0] == 2
        assert operator.runs(str(operator.home / "none"))[0] == 2

    def test_a_file_that_cannot_be_used_is_exit_code_3_and_stays(self, operator: Operator) -> None:
        written(operator.file, f"acme: [{SECRET}]\n")
        code, said = operator.makes()
        assert (code, SECRET in said) == (3, False)
        assert operator.file.read_text() == f"acme: [{SECRET}]\n"
        (operator.home / "cordboard.yaml").unlink()
        assert operator.makes()[0] == 3


# ------------------------------------------------------------------------------------------ the directory


def user(operator: Operator, company: str, extension: str) -> dict[str, str]:
    """What the switch reads of a phone."""
    root = ElementTree.fromstring((operator.directory / f"{company}.xml").read_bytes())
    (found,) = root.findall(f"./domain/users/user[@id='{extension}']")
    entries = [*found.iter("param"), *found.iter("variable")]
    return {entry.attrib["name"]: entry.attrib["value"] for entry in entries}


def inodes(operator: Operator) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in operator.directory.iterdir()}


class TestDirectory:
    def test_a_phone_has_a_hash_of_its_password_and_knows_its_company(self, operator: Operator) -> None:
        operator.makes()
        assert operator.publishes()
        password = operator.password("acme", "301")
        found = user(operator, "acme", "301")
        a1 = hashlib.md5(f"301:acme.{DOMAIN}:{password}".encode()).hexdigest()
        assert found["a1-hash"] == a1
        assert found["cordboard_extension"] == "301"
        root = ElementTree.fromstring((operator.directory / "acme.xml").read_bytes())
        (domain,) = root.findall("domain")
        assert domain.attrib == {"name": f"acme.{DOMAIN}"}
        values = {each.attrib["name"]: each.attrib["value"] for each in domain.findall("./*/*[@value]")}
        assert values == {"allow-empty-password": "false", "user_context": "cordboard", "cordboard_company": "acme"}

    def test_no_password_and_nobodys_name_is_in_it(self, operator: Operator) -> None:
        operator.makes()
        operator.publishes()
        text = "".join(path.read_text() for path in operator.directory.iterdir())
        assert not [p for p in d.read_passwords(operator.file).phones() if operator.password(*p) in text]
        assert not [word for word in ("Anna", "Neil", "Boris", "]]>") if word in text]

    def test_it_is_readable_by_its_owner_only(self, operator: Operator) -> None:
        operator.makes()
        before = os.umask(0)
        try:
            operator.publishes()
        finally:
            os.umask(before)
        assert mode(operator.directory) == 0o700
        assert {mode(path) for path in operator.directory.iterdir()} == {0o600}

    def test_also_when_somebody_opened_it_to_others(self, operator: Operator) -> None:
        operator.makes()
        operator.publishes()
        operator.directory.chmod(0o755)
        (operator.directory / "acme.xml").chmod(0o644)
        operator.publishes()
        assert (mode(operator.directory), mode(operator.directory / "acme.xml")) == (0o700, 0o600)

    def test_one_name_is_registered_and_rung_and_no_other_company_can_have_it(self, operator: Operator) -> None:
        operator.makes()
        operator.publishes()
        names = [user(operator, *phone)["sip-force-extension"] for phone in d.read_passwords(operator.file).phones()]
        assert len(set(names)) == 4
        assert names[0].startswith("301.acme.")
        dial = user(operator, "acme", "301")["dial-string"]
        assert dial.endswith(f"${{sofia_contact(internal/{names[0]}@acme.{DOMAIN})}}")
        assert "outbound_redirect_fatal=true" in dial

    def test_another_password_is_another_name(self, operator: Operator) -> None:
        operator.makes()
        operator.publishes()
        before = [user(operator, "acme", extension)["sip-force-extension"] for extension in ("301", "302")]
        operator.runs("--new", "acme", "301")
        assert operator.publishes()
        after = [user(operator, "acme", extension)["sip-force-extension"] for extension in ("301", "302")]
        assert (before[0] != after[0], before[1] == after[1]) == (True, True)

    def test_again_it_changes_nothing(self, operator: Operator) -> None:
        operator.makes()
        operator.publishes()
        before = inodes(operator)
        assert not operator.publishes()
        assert inodes(operator) == before

    def test_only_what_changed_is_written_and_the_version_after_it(self, operator: Operator) -> None:
        operator.makes()
        operator.publishes()
        before, version = inodes(operator), d.directory_version(operator.state)
        operator.runs("--new", "bolt", "302")
        assert operator.publishes()
        after = inodes(operator)
        assert {name for name in after if after[name] != before[name]} == {"bolt.xml", "0-version.xml"}
        assert d.directory_version(operator.state) not in (None, version)
        newest = max(operator.directory.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        assert newest.name == "0-version.xml"

    def test_the_switch_reads_the_version_before_the_companies(self, operator: Operator) -> None:
        operator.publishes()
        assert min(path.name for path in operator.directory.glob("*.xml")) == "0-version.xml"

    def test_the_version_is_a_domain_that_nobody_can_be_of(self, operator: Operator) -> None:
        operator.publishes()
        root = ElementTree.fromstring((operator.directory / "0-version.xml").read_bytes())
        (domain,) = root.findall("domain")
        assert domain.attrib["name"] == wire.DIRECTORY
        assert "." not in wire.DIRECTORY  # a company's has one
        assert list(root.iter("user")) == []

    def test_a_company_that_is_gone_has_no_file(self, operator: Operator) -> None:
        operator.makes()
        operator.publishes()
        (operator.routing / "bolt.yaml").unlink()
        assert operator.publishes(publish=publish_yes)
        assert sorted(inodes(operator)) == ["0-version.xml", "acme.xml"]

    def test_what_a_killed_writer_left_is_cleared_away(self, operator: Operator) -> None:
        operator.publishes()
        (operator.directory / ".new-xyz").write_text("half")
        operator.publishes()
        assert sorted(inodes(operator)) == ["0-version.xml", "acme.xml", "bolt.xml"]

    def test_a_file_that_a_power_cut_spoiled_is_written_anew(self, operator: Operator) -> None:
        operator.makes()
        operator.publishes()
        whole = (operator.directory / "acme.xml").read_bytes()
        (operator.directory / "acme.xml").write_bytes(b"")
        assert operator.publishes()
        assert (operator.directory / "acme.xml").read_bytes() == whole

    def test_a_phone_without_a_password_is_left_out_and_told_of(self, operator: Operator, logs: Logs) -> None:
        written(operator.file, f"acme: {{301: {SECRET}}}\n")
        operator.publishes()
        text = (operator.directory / "acme.xml").read_text()
        assert ('id="301"' in text, 'id="302"' in text) == (True, False)
        (line,) = [line for line in logs if line["log_level"] == "warning"]
        assert (line["phones"], line["first"]) == (3, "acme 302, bolt 301, bolt 302")
        assert "cordboard passwords" in line["event"]

    def test_a_file_with_errors_keeps_the_phones_of_the_version_that_is_live(self, operator: Operator) -> None:
        operator.makes()
        operator.publishes()
        (operator.routing / "acme.yaml").write_text(ACME.replace("dial: 301", "dial: 399"))
        assert not operator.publishes()
        assert user(operator, "acme", "301")

    def test_passwords_that_cannot_be_read_leave_the_directory_as_it_is(self, operator: Operator, logs: Logs) -> None:
        operator.makes()
        operator.publishes()
        before = inodes(operator)
        operator.file.chmod(0o644)
        assert not operator.publishes()
        assert inodes(operator) == before
        assert any("chmod 600" in str(line.get("error")) for line in logs if line["log_level"] == "error")

    def test_a_disk_that_takes_nothing_is_said_and_changes_no_file(
        self, operator: Operator, logs: Logs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        operator.makes()
        operator.publishes()
        before = inodes(operator)
        operator.runs("--new", "acme", "301")
        config = Config((), passwords=operator.file)
        monkeypatch.setattr(os, "replace", full)
        assert not d.write_directory({"acme": ["301"], "bolt": ["301"]}, config, operator.state, DOMAIN)
        assert inodes(operator) == before
        assert any("No space left" in str(line.get("error")) for line in logs)

    def test_another_domain_is_another_realm(self, operator: Operator) -> None:
        operator.makes()
        operator.publishes()
        before = user(operator, "acme", "301")["a1-hash"]
        assert operator.publishes("pbx.example.org")
        assert user(operator, "acme", "301")["a1-hash"] != before

    @pytest.mark.parametrize(
        ("company", "domain", "extension"),
        [
            ("acme", DOMAIN, "301}"),
            ("acme", DOMAIN, "301${system(id)}"),
            ("acme", DOMAIN, ""),
            ("acme", 'x"/><!--', "301"),
            ("acme", "$${cordboard_esl_password}", "301"),
            ('a"b', DOMAIN, "301"),
            ("ACME", DOMAIN, "301"),
            ("acme", DOMAIN, "301\n"),
        ],
    )
    def test_nothing_but_names_and_digits_comes_into_a_dial_string(
        self, company: str, domain: str, extension: str
    ) -> None:
        with pytest.raises(wire.Refused):
            d.company_xml(company, domain, {extension: SECRET})


# --------------------------------------------------------------------------------------- telling the switch


class FakeLine:
    """A switch that has a directory, and perhaps reads it again."""

    def __init__(self, name: str = "switch1", has: str = "", reads: Path | None = None) -> None:
        self.name = name
        self.connected = True
        self.has = has
        self.reads = reads
        self.asked: list[str] = []
        self.trouble: Exception | None = None

    def ask(self, command: wire.Command, timeout: float = 3.0) -> str:
        self.asked.append(command.text)
        if self.trouble is not None:
            raise self.trouble
        if command.text.startswith("bgapi reloadxml"):
            if self.reads is not None:
                self.has = d.directory_version(self.reads) or ""
            return "+OK Job-UUID: 1"
        return self.has

    @property
    def reloads(self) -> int:
        return len([text for text in self.asked if "reloadxml" in text])


class FakeBoard:
    """Redis, as far as it is asked."""

    def __init__(self) -> None:
        self.available = True
        self.holder = ""

    def lease(self, name: str, owner: str, seconds: float) -> bool:
        if not self.available:
            return False
        self.holder = self.holder or owner
        return self.holder == owner


class TestAnnouncer:
    @pytest.fixture
    def state(self, operator: Operator) -> Path:
        operator.makes()
        operator.publishes()
        return operator.state

    def test_a_switch_that_has_it_is_left_alone(self, state: Path) -> None:
        line = FakeLine(has=d.directory_version(state) or "")
        d.Announcer(state, FakeBoard(), "a").tell(line)
        assert line.asked == ["api domain_data cordboard-directory var version"]

    def test_one_that_has_another_or_none_reads_it(self, state: Path) -> None:
        for has in ("", "0123456789abcdef", "-ERR domain_data Command not found!\n"):
            line = FakeLine(has=has, reads=state)
            announcer = d.Announcer(state, FakeBoard(), "a")
            announcer.tell(line)
            announcer.tell(line)
            assert line.reloads == 1

    def test_one_process_of_several_does_it(self, state: Path) -> None:
        board, line = FakeBoard(), FakeLine(has="old")
        for owner in ("a", "b", "c"):
            d.Announcer(state, board, owner).tell(line)
        assert line.reloads == 1

    def test_while_redis_is_away_each_does(self, state: Path) -> None:
        board, line = FakeBoard(), FakeLine(has="old")
        board.available = False
        for owner in ("a", "b"):
            d.Announcer(state, board, owner).tell(line)
        assert line.reloads == 2

    def test_a_switch_that_never_has_it_is_not_kept_busy_and_is_said_once(self, state: Path, logs: Logs) -> None:
        line = FakeLine(has="another")
        announcer = d.Announcer(state, FakeBoard(), "a")
        for _ in range(20):
            announcer.tell(line)
        assert line.reloads == d.MOST_TRIES
        assert len([entry for entry in logs if entry["log_level"] == "error"]) == 1

    def test_a_new_directory_is_tried_again(self, state: Path, operator: Operator) -> None:
        line = FakeLine(has="another")
        announcer = d.Announcer(state, FakeBoard(), "a")
        for _ in range(9):
            announcer.tell(line)
        operator.runs("--new", "acme", "301")
        operator.publishes()
        line.reads = state
        announcer.tell(line)
        assert line.has == d.directory_version(state)

    def test_every_switch_is_told_whatever_happens_to_another(self, state: Path, logs: Logs) -> None:
        broken, away, well = FakeLine("one"), FakeLine("two"), FakeLine("three", reads=state)
        broken.trouble = ConnectionError("lost")
        away.connected = False
        d.Announcer(state, FakeBoard(), "a").tell(broken, away, well)
        assert well.reloads == 1
        assert away.asked == []
        assert any(entry.get("switch") == "one" for entry in logs)

    def test_without_a_directory_nothing_is_asked(self, tmp_path: Path) -> None:
        line = FakeLine()
        d.Announcer(tmp_path, FakeBoard(), "a").tell(line)
        assert line.asked == []
