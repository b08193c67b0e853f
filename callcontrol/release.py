"""``cordboard publish`` and ``cordboard rollback``: say what would change, ask, have the server do it, and tell.

Knows the server by the files of STATE and one signal, as ``reload.py`` does, and leaves it requests (``asking.py``).
It reads no routing: what a publication would change the server itself finds out, who knows its own directory, and so
it is shown what it then does.

The surprise: it may never say that nothing was changed unless that is sure, whoever presses Ctrl-C when.  So a request
that was not answered is withdrawn first, and then looked for in what was done.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from callcontrol import asking, history, outcomes
from callcontrol.asking import Answer, Request
from callcontrol.outcomes import Moment
from callcontrol.reload import Say, ask, cannot_ask, taken_up

#: How often files are looked at, and how often whether the server is there; seconds.
_LOOK = 0.05
_THERE = 1.0
_FINE, _PROBLEMS, _UNKNOWN = 0, 1, 3

#: Asks a person whether to go on; None: there is nobody to ask.
Confirm = Callable[[str], bool] | None


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks the server of STATE, for how long (seconds), and where the answer goes."""

    state: Path
    by: str
    wait: float
    say: Say
    complain: Say

    def publish(self, companies: Sequence[str], why: str, *, yes: bool, dry_run: bool, confirm: Confirm) -> int:
        """Publish, after saying what will change and asking what must be asked.  Returns the exit code.

        0: all but what is pinned is live in every process; 1: refused, or files with problems; 3: nobody serves, or it
        is not known to be done.
        """
        given: dict[str, object] = {"companies": companies}
        plan = self._answer("plan", why, **given)
        if plan is not None and plan.offers and confirm is not None and not yes and not dry_run:
            given["unpinned"] = self._unpinned(plan.offers, confirm)
            if given["unpinned"]:
                plan = self._answer("plan", why, **given)
        if plan is None:
            return _UNKNOWN
        if plan.refused:
            return self._refuse(plan)
        self._show(plan, "would be" if dry_run else "will be")
        if dry_run:
            return _PROBLEMS if plan.errors or plan.trouble else _FINE
        if plan.needs and not yes and not self._agreed(plan.needs, confirm):
            return _PROBLEMS
        shown = {company: new for company, (_, new) in plan.changes.items()}
        done = self._answer("publish", why, **given, confirmed=list(plan.needs), shown=shown)
        if done is None:
            return _UNKNOWN
        if done.refused:
            return self._refuse(done)
        if done.changes != plan.changes or done.problems != plan.problems:
            self.complain("meanwhile somebody else published, or files were changed; this is what was done:")
            self._show(done, "is")
        if not self._taken_up(done):
            return _UNKNOWN
        return _PROBLEMS if done.errors or done.trouble else _FINE

    def rollback(self, company: str, version: str, why: str) -> int:
        """Pin a company to an earlier version.  Returns the exit code, as ``publish`` does."""
        done = self._answer("rollback", why, companies=[company], version=version)
        if done is None:
            return _UNKNOWN
        if done.refused:
            return self._refuse(done)
        self._show(done, "is")
        if not done.changes:
            self.say(f"{company} has this version already")
        self.say(f"{company} is pinned to it until: cordboard publish --company {company}")
        return _FINE if self._taken_up(done) else _UNKNOWN

    # ------------------------------------------------------------------------------------------- telling

    def _show(self, answer: Answer, verb: str) -> None:
        for problem in answer.problems:
            self.say(problem)
        for company, (old, new) in answer.changes.items():
            if not new:
                stops = "takes" if verb == "is" else f"{verb.removesuffix(' be')} take"
                self.say(f"{company} {stops} no more calls (it had version {old})")
            else:
                self.say(f"{company} {verb} version {new}" + (f" instead of {old}" if old else ", and takes calls"))
        for line in answer.lines:
            self.say(line)
        if answer.rehearsals:
            self.say(f"{answer.rehearsals} rehearsals passed")
        if answer.trouble:
            self.complain(f"cordboard: {answer.trouble}; going by what it said before")
        if answer.errors:
            count = f"{answer.errors} {'error' if answer.errors == 1 else 'errors'}"
            self.complain(f"{count}: those companies stay as they are")
        if not answer.changes:
            self.complain("no version changes")

    def _unpinned(self, offers: Mapping[str, str], confirm: Callable[[str], bool]) -> list[str]:
        """The companies whose pin a person wants to end."""
        found = []
        for company, text in offers.items():
            self.complain(f"{company} is {text}")
            if confirm(f"Publish {company} too, which ends the pin?"):
                found.append(company)
        return found

    def _agreed(self, needs: Mapping[str, str], confirm: Confirm) -> bool:
        for text in needs.values():
            self.complain(f"this must be asked: {text}")
        if confirm is None:
            self.complain("cordboard: refused, nothing was changed: say yes with --yes, or ask on a terminal")
            return False
        if not confirm("Shall it be so?"):
            self.complain("nothing was changed")
            return False
        return True

    def _refuse(self, answer: Answer) -> int:
        self.complain(f"cordboard: refused, nothing was changed: {answer.refused}")
        return _PROBLEMS

    def _taken_up(self, done: Answer) -> bool:
        deadline = time.monotonic() + self.wait  # from now: a person may have thought for long
        try:
            if not taken_up(self.state, done.serial, deadline, self.wait, self.complain):
                return False
        except KeyboardInterrupt:
            self.complain("cordboard: it is published; nobody waits any more for the processes to take it up")
            return False
        if done.changes:
            self.say("every process has it; live calls stay on the version they began with")
        return True

    # ------------------------------------------------------------------------------------------- asking

    def _answer(self, verb: str, why: str, **given: object) -> Answer | None:
        """Leave a request and wait; None: there is no answer, and it was said what is known."""
        deadline = time.monotonic() + self.wait
        request = asking.new(verb, self.by, why, self.wait, **given)
        answer, left = None, None
        try:
            try:
                asking.leave(self.state, request)
                left = outcomes.now()
                trouble = ask(self.state, signal.SIGUSR1)
                if not trouble:
                    answer, trouble = self._answered(request, left, deadline)
            except OSError as error:
                trouble = cannot_ask(self.state, error)
            except KeyboardInterrupt:
                trouble = "interrupted: nothing was changed"
            if answer is None and left is not None:
                answer, trouble = self._done_all_the_same(request, trouble)
        finally:
            asking.withdraw(self.state, request)
        if answer is None:
            self.complain(f"cordboard: {trouble}")
        return answer

    def _answered(self, request: Request, left: Moment, deadline: float) -> tuple[Answer | None, str]:
        """The answer, or why there is none.  ``left``: since when it lies there for every attempt."""
        holder, looked = outcomes.holder(self.state), time.monotonic()
        trouble = ""
        while not trouble:
            answer = asking.answer_to(self.state, request)
            if answer is not None:
                return answer, ""
            attempt = outcomes.read_attempt(self.state)
            if attempt is not None and attempt.how == "requests" and attempt.began.follows(left):
                if attempt.ended is not None and attempt.failed:
                    trouble = f"nothing was published, what is live stays: {attempt.failed}"
                elif attempt.ended is not None and asking.answer_to(self.state, request) is None:
                    trouble = "nothing was published: the server did not take this up; its log says why"
            if time.monotonic() > deadline:
                trouble = f"the server has not answered within {self.wait:g} s; cordboard versions says what is live"
            elif time.monotonic() - looked > _THERE:
                looked = time.monotonic()
                if outcomes.holder(self.state) != holder:
                    trouble = "the server ended meanwhile; cordboard versions says what is live"
            time.sleep(_LOOK)
        return None, trouble

    def _done_all_the_same(self, request: Request, trouble: str) -> tuple[Answer | None, str]:
        """Withdraw a request and look whether it was done: one who read it before may not be ready."""
        answer = asking.answer_to(self.state, request)
        asking.withdraw(self.state, request)
        unknown = "it is not known whether this will be done: the server is at it; see cordboard versions"
        give_up = time.monotonic() + min(self.wait, 60.0)
        try:
            while answer is None:
                attempt = outcomes.read_attempt(self.state)
                answer = asking.answer_to(self.state, request) or self._recorded(request)
                running = attempt is not None and attempt.how == "requests" and attempt.ended is None
                if not running or not outcomes.holder(self.state):
                    break
                if time.monotonic() > give_up:
                    return answer, unknown
                time.sleep(_LOOK)
        except KeyboardInterrupt:
            return None, unknown
        return answer, trouble

    def _recorded(self, request: Request) -> Answer | None:
        """What was done for it.  That is of late: the whole history need not be read again and again."""
        last = outcomes.read_outcome(self.state)
        record = history.done_for(history.latest(self.state, last.record if last else None), request.id)
        return Answer(record.serial, changes=record.changes) if record is not None else None
