"""Settings: who may connect, whose password is read, what people are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from callcontrol.settings import SettingsError, Voice, address, admits, networks, read_config


@pytest.mark.parametrize(
    ("peers", "host", "admitted"),
    [
        ("127.0.0.0/8", "127.0.0.1", True),
        ("127.0.0.0/8", "127.200.0.9", True),
        ("127.0.0.0/8", "10.0.0.1", False),
        ("127.0.0.0/8", "::ffff:127.0.0.1", True),
        ("127.0.0.0/8", "::ffff:10.0.0.1", False),
        ("127.0.0.0/8", "::1", False),
        ("127.0.0.0/8,::1/128", "::1", True),
        ("10.1.2.0/24, 10.2.0.0/16", "10.2.200.1", True),
        ("0.0.0.0/0", "nonsense", False),
        ("", "127.0.0.1", False),
    ],
)
def test_only_known_peers_are_let_in(peers: str, host: str, admitted: bool) -> None:
    assert admits(networks(peers), host) is admitted


@pytest.mark.parametrize("text", ["127.0.0.1/8", "x", "10.0.0.0/33"])
def test_networks_that_are_none_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingsError, match=r"127\.0\.0\.0/8"):
        networks(text)


def test_an_address_is_host_and_port() -> None:
    assert address("0.0.0.0:8084") == ("0.0.0.0", 8084)
    assert address("[::1]:8084") == ("::1", 8084)


@pytest.mark.parametrize("text", ["8084", "host", "host:", ":1", "host:99999", "host:x", "host:-1"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="host:port"):
        address(text)


class TestConfig:
    GOOD = "switches:\n  - {name: switch1, password_file: secret}\n"

    def write(self, directory: Path, text: str, password: str | None = "x", mode: int = 0o600) -> Path:
        if password is not None:
            (directory / "secret").write_text(password)
            (directory / "secret").chmod(mode)
        path = directory / "cordboard.yaml"
        path.write_text(text)
        return path

    def test_a_switch_needs_only_a_name_and_a_password_file(self, tmp_path: Path) -> None:
        (switch,) = read_config(self.write(tmp_path, self.GOOD, "geheim\n")).switches
        assert (switch.name, switch.host, switch.port, switch.password) == ("switch1", "127.0.0.1", 8021, "geheim")

    def test_a_password_is_never_shown(self, tmp_path: Path) -> None:
        assert "geheim" not in repr(read_config(self.write(tmp_path, self.GOOD, "geheim")))

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("switches: []", "switches"),
            ("switches: [{name: switch1}]", "password_file"),
            ("switches: [{name: 'a b', password_file: secret}]", "name"),
            ("switches: [{name: a, password_file: secret, port: 0}]", "port"),
            ("switchs: []", "switchs"),
            ("[", "cordboard.yaml"),
            ("switches: [{name: a, password_file: secret}, {name: a, password_file: secret}]", "same name"),
        ],
    )
    def test_a_mistake_is_named(self, tmp_path: Path, text: str, said: str) -> None:
        with pytest.raises(SettingsError, match=said):
            read_config(self.write(tmp_path, text))

    def test_a_language_may_have_a_voice_of_espeak_or_a_program(self, tmp_path: Path) -> None:
        text = "voices: {ru: {command: [piper, --output_file, '{file}']}, en: {espeak: en-gb, speed: 130}, pt-BR: {}}"
        assert read_config(self.write(tmp_path, f"{self.GOOD}{text}\n")).voices == {
            "ru": Voice(command=("piper", "--output_file", "{file}")),
            "en": Voice("en-gb", 130),
            "pt-BR": Voice(None, 150),
        }

    @pytest.mark.parametrize(
        ("voices", "said"),
        [
            ("{ru: {command: [piper]}}", r"command: one of its words must be \{file\}"),
            ("{ru: {command: ['{file}', x]}}", r"must be \{file\}"),
            ("{ru: {command: [a, '{file}'], speed: 100}}", "speed do not go with it"),
            ("{ru: {command: piper}}", "command"),
            ("{ru: {espeak: ../../x}}", "espeak"),
            ("{ru: {speed: 1000}}", "speed"),
            ("{ru: {voice: x}}", "voice"),
            ("{Russian: {}}", "Russian"),
        ],
    )
    def test_a_mistake_in_a_voice_is_named(self, tmp_path: Path, voices: str, said: str) -> None:
        with pytest.raises(SettingsError, match=said):
            read_config(self.write(tmp_path, f"{self.GOOD}voices: {voices}\n"))

    def test_music_is_a_file_beside_this_one_or_anywhere(self, tmp_path: Path) -> None:
        text = "music: {moh: sounds/our music.wav, jazz: /srv/jazz.ogg}"
        found = read_config(self.write(tmp_path, f"{self.GOOD}{text}\n")).music
        assert found == {"moh": tmp_path / "sounds/our music.wav", "jazz": Path("/srv/jazz.ogg")}
        assert read_config(self.write(tmp_path, self.GOOD)).music == {}

    @pytest.mark.parametrize(
        "music", ["{moh: ''}", "{'Our Music': a.wav}", "{hold.wav: a.wav}", "a.wav", '{moh: "a\\0"}']
    )
    def test_a_mistake_in_music_is_named(self, tmp_path: Path, music: str) -> None:
        with pytest.raises(SettingsError, match="music"):
            read_config(self.write(tmp_path, f"{self.GOOD}music: {music}\n"))

    def test_a_file_that_is_not_there_is_explained(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="there is no such file"):
            read_config(tmp_path / "cordboard.yaml")

    def test_a_password_that_others_can_read_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="chmod 600"):
            read_config(self.write(tmp_path, self.GOOD, mode=0o640))

    @pytest.mark.parametrize("password", ["", "\n", "two\nlines", "a\x07b"])
    def test_a_password_must_be_one_printable_line(self, tmp_path: Path, password: str) -> None:
        with pytest.raises(SettingsError, match="password"):
            read_config(self.write(tmp_path, self.GOOD, password))

    def test_a_password_file_that_is_missing_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="secret"):
            read_config(self.write(tmp_path, self.GOOD, None))

    def test_brackets_without_end_are_a_mistake_and_no_crash(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="nested too deeply"):
            read_config(self.write(tmp_path, "switches: " + "[" * 3000 + "]" * 3000))
