"""Every mistake that ``cordboard check`` knows: its code, its severity and its meaning in one line.

A code never changes its meaning; a new check gets a new code, and a chapter in ``explanations.md``.
"""

from __future__ import annotations

from callcontrol.routing.model import Place, Problem

#: What the codes of a family are about, by how they begin.
FAMILIES: dict[str, str] = {
    "E1": "the file and its YAML",
    "E2": "names that point somewhere",
    "E3": "values and options",
    "E4": "flows and steps",
    "E5": "a company as a whole",
    "W": "warnings",
}

CODES: dict[str, str] = {
    # ------------------------------------------------------------------------- the file and its YAML
    "E101": "the file is not YAML: a bracket, quote, colon or indentation is wrong",
    "E102": "the same name stands twice in one mapping",
    "E103": "a name has no value",
    "E104": "an anchor or alias: routing has none (a bare * or & begins one)",
    "E105": "a merge key <<: routing has none",
    "E106": "a tag such as !name: routing has none",
    "E107": "more than one YAML document in a file",
    "E108": "a # stuck to text: neither clearly a comment nor clearly text",
    "E109": "a bare # or * where a key or text was meant",
    "E110": "a bare {word} or text with braces that YAML reads as a mapping",
    "E111": "the file is not plain UTF-8",
    "E112": "the file is too large",
    "E113": "brackets or lists nested too deeply",
    "E114": "a tab in the indentation",
    "E115": "a control character, or one that cannot be seen",
    "E116": "the name of an entry is not a word",
    "E117": "unquoted text that a comment cuts short",
    "E118": "the file cannot be read",
    "E119": "the file's name is no company id",
    "E120": "more problems than are shown",
    # -------------------------------------------------------------------------------------- names
    "E201": "an edge leads to a step or flow that does not exist",
    "E202": "there is no person with this extension",
    "E203": "there is no such group",
    "E204": "there is no such list of callers",
    "E205": "there are no such hours",
    "E206": "there is no such queue",
    "E207": "there is no such flow",
    "E208": "there is no such step",
    "E209": "the sound file does not exist",
    "E210": "the language is not among the company's languages",
    "E211": "the number is not among the company's numbers",
    "E212": "there is no switch of this name",
    "E213": "a variable that nothing sets on the way here",
    "E214": "a variable in speech whose value cannot be spoken",
    "E215": "a sound file that cannot be played",
    "E216": "there is no voice for a language",
    # ----------------------------------------------------------------------------- values and options
    "E301": "a section or option that does not exist",
    "E302": "a required option is missing",
    "E303": "a list, a mapping or text where something else is wanted",
    "E304": "one of a few words is wanted",
    "E305": "not a whole number, or out of range",
    "E306": "not a duration, or out of range",
    "E307": "not a telephone number",
    "E308": "not an extension",
    "E309": "not a name: letters, digits, _ and -, at most 32",
    "E310": "not text that can be used: empty, too long, or with ${",
    "E311": "a brace in text that holds no variable",
    "E312": "not the name of a sound file",
    "E313": "not a key of a telephone",
    "E314": "not a number of digits",
    "E315": "a variable that cannot be set here",
    "E316": "a value with no room: 64 bytes each, 160 bytes together",
    "E317": "not a target that can be dialled",
    "E318": "not a web address",
    "E319": "not an e-mail address",
    "E320": "not a country, language or time zone",
    "E321": "the version of the language is not 1",
    "E322": "not a time of day, a day or a date",
    "E323": "the same day, key, member or number twice",
    "E324": "options that do not go together",
    "E325": "not a code that a telephone can dial",
    "E326": "not a date and time",
    "E327": "not the pattern of a caller's number",
    # -------------------------------------------------------------------------------- flows and steps
    "E401": "a step without a verb",
    "E402": "a step with two verbs",
    "E403": "a verb that is reserved for a later version",
    "E404": "an outcome without an edge and without otherwise",
    "E405": "the step needs then",
    "E406": "the step needs otherwise",
    "E407": "an edge that can never be followed",
    "E408": "a name that means something else",
    "E409": "a flow without steps",
    "E410": "a loop in which nothing waits for the caller",
    "E411": "a flow that runs itself",
    "E412": "a key of a menu is also an extension that can be dialled there",
    "E413": "the state of a call in this step would not fit on its channel",
    "E414": "flows that run flows more than eight deep",
    "E415": "a menu that no key answers",
    # ------------------------------------------------------------------------------ a company as a whole
    "E501": "an emergency number is also an extension",
    "E502": "a number is owned twice",
    "E503": "a code is used twice",
    "E504": "the values that a call can collect do not fit together",
    "E505": "there are no public holidays known for the country",
    "E506": "a person forwards to themselves, or to a mobile they do not have",
    "E507": "a number that may not be dialled from here",
    "E508": "people who always forward to each other, so that nobody would ever ring",
    "E509": "what a rehearsal gives for a lookup is not what the step asks for",
    "E510": "skills that no agent of the queue has: the caller would wait for ever",
    "E511": "the duty of a person is a switch: it has no times",
    # ---------------------------------------------------------------------------------------- warnings
    "W501": "a step that no call reaches",
    "W502": "a flow that no call reaches",
    "W503": "steps that lead only to each other: the caller can only hang up",
    "W504": "an extension that is a national emergency number",
    "W505": "a telephone number that does not look valid in its country",
    "W506": "an outside number, and no outbound section: it is never rung",
    "W507": "a caller ID that is none of the company's numbers, though it has others of that country",
    "W508": "people who may forward to each other in a circle",
    "W509": "a text that its voice could not say",
    "W510": "a skill of an agent that no caller of the queue needs",
    "W511": "a waiting time for a level that no agent has",
    "W512": "levels of a queue that do not open one after the other, beginning at once",
    "W513": "a queue that no step leads to",
    "W514": "an edge of a step that is never followed, as the step or its queue is written",
    "W515": "something in a queue that would come only after its max_wait, and so never",
    "W516": "a person with a duty who is no agent of any queue",
    "W517": "agents who leave by a code, or are paused, and have none to come back",
    "W518": "a rule of recording for a step in which nobody talks",
    "W519": "an announcement of recording, and nothing is ever recorded",
    # W520 to W549 are for what is left of a company as a whole.
    "W550": "more warnings than are shown",
}


def problem(code: str, place: Place, message: str) -> Problem:
    """A problem of a known code; its severity follows from the code.  KeyError for an unknown one."""
    CODES[code]
    return Problem(place, code, message, severity(code))


def severity(code: str) -> str:
    """``error``: the file does not go live; or ``warning``."""
    return "warning" if code.startswith("W") else "error"
