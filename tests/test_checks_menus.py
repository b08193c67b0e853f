"""Menus: keys, extensions, and what the words say of keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from callcontrol.routing.checks import pressing
from tests.checked import HEAD, codes, placed, problems


def test_a_key_is_no_extension_and_waits_if_it_begins_one() -> None:
    flows = "main:\n  a: {menu: M., keys: {3: hangup}, extensions: [team], otherwise: hangup}"
    assert placed("main:\n  a: {menu: M., keys: {1: hangup, 3: hangup}, extensions: [301], otherwise: hangup}") == [
        "19:40: W528 key 3 begins the extension 301: who presses it waits two seconds for more digits"
    ]
    assert problems(flows) == [
        "W528 key 3 begins the extensions 301 and 302: who presses it waits two seconds for more digits"
    ]
    assert codes(flows.replace("3:", "4:")) == []
    both = HEAD.replace("  302:", "  410: {name: Chiara}\n  302:").replace("[301, 302]", "[301, 302, 410]")
    assert problems(flows.replace("{3:", "{4: hangup, 1: hangup, 3:"), head=both) == [  # one line for a menu
        "W528 keys 3 and 4 begin the extensions 301 and 2 others: who presses one waits two seconds for more digits"
    ]
    head = HEAD.replace("302:", "3:").replace("302]", "3]")
    assert problems(flows, head=head) == [
        "E412 key 3 is also the extension of Boris, who can be dialled here",
    ]


def test_an_extension_that_begins_others_waits() -> None:
    head = HEAD.replace("  302:", "  30: {name: Chiara}\n  302:").replace("[301, 302]", "[301, 302, 30]")
    flows = "main:\n  a: {menu: M., extensions: [team], otherwise: hangup}"
    assert problems(flows, head=head) == [
        "W528 extension 30 begins the extensions 301 and 302: who dials it waits two seconds for more"
    ]
    assert problems(flows.replace("team", "301, 302"), head=head) == []


def test_a_menu_needs_a_key_or_an_extension() -> None:
    assert codes("main:\n  a: {menu: M., otherwise: hangup}") == ["E415"]
    assert codes("main:\n  a: {menu: M., extensions: [301], otherwise: hangup}") == []


def test_then_of_a_menu_needs_somebody_who_can_be_dialled() -> None:
    flows = "main:\n  a: {menu: M., keys: {1: hangup}, then: hangup, otherwise: hangup}"
    assert codes(flows) == ["E407"]
    assert codes(flows.replace("keys", "extensions: [301], keys")) == []


# ------------------------------------------------------------------------------------- what the words say


def menu(text: str, keys: str = "1: hangup, 2: hangup", more: str = "") -> list[str]:
    return problems(f"main:\n  a: {{menu: {text}, keys: {{{keys}}}, {more}otherwise: hangup}}")


def test_a_text_names_keys_that_are_there() -> None:
    assert menu("'For sales press 1, for service press 2.'") == []
    assert menu("'For sales press 1, for service press 3.'") == [
        'W529 the text says "press 3", and 3 is no key of this menu: it has 1 and 2',
        "W530 the text names every key but 2, which leads to hangup",
    ]
    assert menu("'For 1 or 2 press the key. To hear this again press star.'", "1: hangup, 2: hangup, hash: hangup") == [
        'W529 the text says "press star", and star is no key of this menu: it has 1, 2 and hash'
    ]


def test_every_language_of_a_prompt_is_read_in_its_own() -> None:
    found = menu("{en: 'Press 1 or 2.', ru: 'Нажмите 1 или 2, чтобы выйти, нажмите три.'}")
    assert found == ['W529 the text says "нажмите три", and 3 is no key of this menu: it has 1 and 2']
    assert menu("{en: 'Press 1 or 2, or three.', ru: 'Press 4.'}")[:1] == [
        'W529 the text says "three", and 3 is no key of this menu: it has 1 and 2'
    ]


def test_the_problem_stands_at_the_text() -> None:
    flows = (
        "main:\n  a:\n    menu:\n      en: Press 1.\n      ru: Нажмите 3.\n    keys: {1: hangup}\n    otherwise: hangup"
    )
    assert [line.partition(" ")[0] for line in placed(flows)] == ["22:13:"]


def test_a_key_may_be_an_extension_and_a_hash_ends_one() -> None:
    head = HEAD.replace("  302:", "  3: {name: Chiara}\n  302:")
    flows = "main:\n  a: {menu: 'Press 3, or an extension and press hash.', extensions: [3], otherwise: hangup}"
    assert problems(flows, head=head) == []
    (found,) = problems(flows.replace("Press 3", "Press 4"), head=head)
    assert found == 'W529 the text says "press 4", and 4 is no key of this menu: it has none'


def test_a_sound_may_say_anything() -> None:
    assert menu("{en: 'Press 1.', ru: menu.wav}") == []
    assert menu("menu.wav") == []


@pytest.mark.parametrize("unsaid", ["0", "star", "hash"])
def test_some_keys_are_left_unsaid_on_purpose(unsaid: str) -> None:
    assert menu("Press 1 or 2.", f"1: hangup, 2: hangup, {unsaid}: hangup") == []


def test_a_text_that_leaves_out_several_keys_or_names_none_is_left_alone() -> None:
    assert menu("Press 1.", "1: hangup, 2: hangup, 3: hangup") == []
    assert menu("Welcome.", "1: hangup, 2: hangup") == []
    assert menu("One moment.", "1: hangup, 2: hangup") == []
    assert menu("Press 1. For two tickets stay on the line.") == []  # it might be meant


QUEUE = (
    'queues: {{sales: {{agents: [301], keys: {{{keys}}}, announce: {{every: 45s, say: "To leave press {key}."}}}}}}\n'
)
WAIT = "main:\n  a: {queue: sales, otherwise: hangup}"


def test_what_is_said_in_a_queue_names_keys_of_the_queue_or_of_a_step() -> None:
    assert problems(WAIT, more=QUEUE.format(keys="1: left", key="1")) == []
    assert problems(WAIT, more=QUEUE.format(keys="1: left", key="2")) == [
        'W529 the text says "press 2", and 2 is no key of this queue: it has 1'
    ]
    step = WAIT.replace("sales,", "sales, keys: {2: left},")
    assert problems(step, more=QUEUE.format(keys="1: left", key="2")) == []
    unread = WAIT + "\n  b: {quee: sales, keys: {2: left}}"  # it may be the one that has the key
    assert codes(unread, more=QUEUE.format(keys="1: left", key="2")) == ["E401"]


@pytest.mark.parametrize(
    ("language", "text", "keys"),
    [
        ("en", "For sales press 1, for service press 2.", "12"),
        ("en", "Press 1 for sales, 2 for service, or 3 if you know whom you want.", "123"),
        ("en", "Press 1, 2 or 3.", "123"),
        ("en", "Press one; dial the number two. Push the star key, or hit 'hash'!", "12*#"),
        ("en-GB", "To hear this again press *", "*"),
        ("ru", "Для продаж нажмите 1, для сервиса нажмите «два» или звёздочку.", "12*"),
        ("ru", "Нажмите 1 — продажи, 2 — сервис. Наберите цифру девять, чтобы выйти.", "129"),
        ("ru", "Нажмите решётку для выхода", "#"),
        ("de", "Für den Vertrieb drücken Sie bitte die 1, für den Service wählen Sie die Taste zwei.", "12"),
        ("it", "Premere il tasto 3 per le vendite, 4 per assistenza.", "34"),
        ("es", "Para ventas pulse 1; marque el dos para servicio.", "12"),
        ("fr", "Pour les ventes, appuyez sur la touche 1, ou tapez étoile.", "1*"),
        ("pt-BR", "Pressione 3 para vendas, digite a tecla um.", "31"),
    ],
)
def test_keys_are_heard_in_the_languages_that_are_known(language: str, text: str, keys: str) -> None:
    assert sorted(pressing.named(text, language)) == sorted(keys)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "We are open from 9 to 5. Press 3 times. Dial 2 digits. Press 10."),
        ("en", "Press 3.5 now. Dial 2,5 and wait. Press 1 for 3 dollars."),
        ("en", "Dial 301 for Anna. Press 5% off. It costs 2 dollars, 3 for members."),
        ("en", "Please enter your 4 digits. One moment: two of three lines are busy."),
        ("en", "Choose one of our offers. Our number is 5, Main Street."),
        ("ru", "Мы работаем с 9 до 18. Нажмите 3 раза. Наберите 301."),
        ("ru", "Ждите 5 минут, 2 для всех."),
        ("de", "Wir sind von 9 bis 17 Uhr da. Wählen Sie eine unserer Abteilungen."),
        ("xx", "Press 3."),
    ],
)
def test_other_numbers_are_no_keys(language: str, text: str) -> None:
    assert pressing.named(text, language) == {}


SPELT = {"*": "star", "#": "hash"}
#: What offices say, with all that is in it besides keys: language, the keys that are heard, the text.
OFFICES = [line.split("|") for line in (Path(__file__).parent / "offices.txt").read_text("utf-8").splitlines()]


@pytest.mark.parametrize(("language", "keys", "text"), OFFICES)
def test_offices_are_heard_as_they_speak(language: str, keys: str, text: str) -> None:
    assert "".join(sorted(pressing.named(text, language))) == keys
    assert all(pressing.mentions(text, language, key) for key in keys)


@pytest.mark.parametrize(("language", "keys", "text"), [one for one in OFFICES if one[1]])
def test_a_menu_as_offices_have_it_is_not_warned_of_and_a_key_that_is_not_there_is(
    language: str, keys: str, text: str
) -> None:
    head = HEAD.replace("[en, ru]", f"[{language}]")

    def menu(there: str) -> list[str]:
        spelt = ", ".join(f"{SPELT.get(key, key)}: hangup" for key in there)
        prompt = json.dumps(text, ensure_ascii=False)
        found = problems(f"main:\n  a: {{menu: {prompt}, keys: {{{spelt}}}, otherwise: hangup}}", head=head)
        return [line for line in found if line[:4] in ("W529", "W530")]

    assert menu(keys) == []
    for key in keys:
        assert "W529" in "".join(menu(keys.replace(key, "") or "8"))


def test_a_row_of_keys_goes_on_only_behind_a_word_for_pressing() -> None:
    assert list(pressing.named("Press 1 for sales, 9 to 5 daily, 4 for 3 dollars.", "en")) == ["1"]


def test_any_number_might_name_a_key() -> None:
    assert pressing.mentions("Two for the show, 3.", "en", "2")
    assert pressing.mentions("Two for the show, 3.", "en", "3")
    assert not pressing.mentions("Two for the show, 3.", "en", "4")
    assert pressing.mentions("Whatever.", "xx", "4")
