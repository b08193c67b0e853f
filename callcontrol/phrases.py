"""What Cordboard itself says: the few sentences that no operator writes.

One table, so that publishing can render each in every language a company speaks.  A language that is not here
hears English, by an English voice.  Pure; the surprise is that a sentence belongs to a *situation*, not to a verb.
"""

from __future__ import annotations

from collections.abc import Mapping

from callcontrol.messages import Speech, Words

#: Situation → language → the sentence.  ``confirm`` is for the person called, the others for whoever calls.
PHRASES: Mapping[str, Mapping[str, str]] = {
    # An outside phone has answered: is it a person who wants the call, or a mailbox?
    "confirm": {
        "en": "A call for you. To take it, press 1.",
        "ru": "Вам звонок. Чтобы ответить, нажмите 1.",
        "de": "Ein Anruf für Sie. Zum Annehmen drücken Sie die 1.",
        "es": "Tiene una llamada. Para aceptarla, pulse 1.",
        "fr": "Un appel pour vous. Pour le prendre, appuyez sur 1.",
        "it": "Una chiamata per lei. Per rispondere, prema 1.",
    },
    # A forward to voicemail: the person has no greeting of their own.
    "leave_message": {
        "en": "Nobody can take your call. Please leave a message after the tone.",
        "ru": "Сейчас никто не может ответить. Оставьте сообщение после сигнала.",
        "de": "Ihr Anruf kann nicht entgegengenommen werden. Bitte hinterlassen Sie eine Nachricht nach dem Ton.",
        "es": "Nadie puede atender su llamada. Deje un mensaje después de la señal.",
        "fr": "Personne ne peut prendre votre appel. Veuillez laisser un message après le signal.",
        "it": "Nessuno può rispondere. Lasci un messaggio dopo il segnale.",
    },
    # One of the company's phones dialled a number that policy refuses.
    "barred": {
        "en": "This number cannot be called from here.",
        "ru": "Этот номер отсюда набрать нельзя.",
        "de": "Diese Nummer kann von hier nicht angerufen werden.",
        "es": "No se puede llamar a este número desde aquí.",
        "fr": "Ce numéro ne peut pas être appelé d'ici.",
        "it": "Questo numero non può essere chiamato da qui.",
    },
    # … or is no number, code or extension at all.
    "unknown_number": {
        "en": "There is no such number.",
        "ru": "Такого номера нет.",
        "de": "Diese Nummer gibt es nicht.",
        "es": "Este número no existe.",
        "fr": "Ce numéro n'existe pas.",
        "it": "Questo numero non esiste.",
    },
    # All lines that the company, the person or the trunk may use are in use.
    "congestion": {
        "en": "All lines are in use. Please try again later.",
        "ru": "Все линии заняты. Попробуйте позже.",
        "de": "Alle Leitungen sind belegt. Bitte versuchen Sie es später.",
        "es": "Todas las líneas están ocupadas. Inténtelo más tarde.",
        "fr": "Toutes les lignes sont occupées. Veuillez réessayer plus tard.",
        "it": "Tutte le linee sono occupate. Riprovi più tardi.",
    },
    "switched_on": {
        "en": "It is now on.",
        "ru": "Включено.",
        "de": "Es ist jetzt eingeschaltet.",
        "es": "Está activado.",
        "fr": "C'est activé.",
        "it": "È attivato.",
    },
    "switched_off": {
        "en": "It is now off.",
        "ru": "Выключено.",
        "de": "Es ist jetzt ausgeschaltet.",
        "es": "Está desactivado.",
        "fr": "C'est désactivé.",
        "it": "È disattivato.",
    },
    # An agent dialled a code; what they are now, whatever the code was.
    "logged_in": {
        "en": "You are logged in.",
        "ru": "Вы на линии.",
        "de": "Sie sind angemeldet.",
        "es": "Ha iniciado sesión.",
        "fr": "Vous êtes en service.",
        "it": "Connessione effettuata.",
    },
    "logged_out": {
        "en": "You are logged out.",
        "ru": "Вы больше не на линии.",
        "de": "Sie sind abgemeldet.",
        "es": "Ha cerrado sesión.",
        "fr": "Vous n'êtes plus en service.",
        "it": "Disconnessione effettuata.",
    },
    "paused": {
        "en": "You are paused.",
        "ru": "У вас перерыв.",
        "de": "Sie sind in der Pause.",
        "es": "Está en pausa.",
        "fr": "Vous êtes en pause.",
        "it": "È in pausa.",
    },
    "resumed": {
        "en": "You are back.",
        "ru": "Перерыв окончен.",
        "de": "Ihre Pause ist beendet.",
        "es": "Su pausa ha terminado.",
        "fr": "Votre pause est terminée.",
        "it": "La sua pausa è finita.",
    },
    "no_agent": {
        "en": "You are not in any queue.",
        "ru": "Вы не числитесь ни в одной очереди.",
        "de": "Sie sind in keiner Warteschlange.",
        "es": "No está en ninguna cola.",
        "fr": "Vous n'êtes dans aucune file d'attente.",
        "it": "Non è in nessuna coda.",
    },
    "not_done": {
        "en": "That did not work. Please try again.",
        "ru": "Не получилось. Попробуйте ещё раз.",
        "de": "Das hat nicht geklappt. Bitte versuchen Sie es noch einmal.",
        "es": "No ha funcionado. Inténtelo de nuevo.",
        "fr": "Cela n'a pas marché. Veuillez réessayer.",
        "it": "Non ha funzionato. Riprovi.",
    },
}


#: When each is said, and who hears it; for the manual.
WHEN: Mapping[str, str] = {
    "confirm": "a person's telephone outside, or a number that a step dials, has answered and must press 1",
    "leave_message": "a forward leads the caller to voicemail",
    "barred": "a telephone of the company dialled a number that may not be called",
    "unknown_number": "a telephone of the company dialled what is no number, code or extension",
    "congestion": "a telephone of the company dialled out, and all lines that it may use are in use",
    "switched_on": "a code turned its switch on",
    "switched_off": "a code turned its switch off",
    "logged_in": "an agent dialled a code, and is logged in",
    "logged_out": "an agent dialled a code, and is logged out",
    "paused": "an agent dialled a code, and has paused",
    "resumed": "an agent dialled a code, and the pause is over",
    "no_agent": "a code of agents was dialled by a person who serves no queue",
    "not_done": "a code was dialled, and what it stands for could not be done",
}


def phrase(situation: str, language: str) -> Speech:
    """The sentence for ``situation`` in ``language`` (``pt-BR`` falls back to ``pt``), else in English."""
    known = PHRASES[situation]
    for spoken in (language, language.partition("-")[0]):
        if spoken in known:
            return Speech((Words(known[spoken]),), language)
    return Speech((Words(known["en"]),), "en")
