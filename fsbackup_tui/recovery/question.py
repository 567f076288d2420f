"""What a step asks a person, and what they answered: the same for every face. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from fsbackup_tui.domain.errors import UsageError


@dataclass(frozen=True, slots=True)
class Option:
    """One answer to choose: its key, its words, more lines about it.

    ``doubt`` says why it needs a written reason; ``impossible`` why it can't be chosen now.
    """

    key: str
    label: str
    detail: tuple[str, ...] = ()
    doubt: str = ""
    impossible: str = ""
    recommended: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """A question: among ``options``, several of them, or free text where there are none.

    ``default`` is the safe answer, taken by a bare Enter; empty: there is none.
    """

    text: str
    options: tuple[Option, ...] = ()
    several: bool = False
    default: str = ""
    hint: str = ""
    may_be_empty: bool = False

    def option(self, key: str) -> Option | None:
        """Return the option of that key."""
        return next((option for option in self.options if option.key == key), None)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered: an option's key (several with commas between them) or text.

    ``reason`` is what was written for a doubtful choice; ``typed`` the target's name.
    """

    value: str = ""
    reason: str = ""
    typed: str = ""

    @property
    def values(self) -> tuple[str, ...]:
        """The answers, where there may be several."""
        return tuple(value.strip() for value in self.value.split(",") if value.strip())


def check_answer(question: Question, answer: Answer) -> Answer:
    """Return the answer in its full form; UsageError where it can't be taken."""
    value = answer.value.strip() or question.default
    if not value and not question.may_be_empty:
        raise UsageError(f"NOT ANSWERED: {question.text}", fix=_how(question))
    if not question.options:
        return Answer(value, answer.reason, answer.typed)
    chosen = [each.strip() for each in value.split(",") if each.strip()]
    if len(chosen) > 1 and not question.several:
        raise UsageError(f"ONE ANSWER, PLEASE: {question.text}", fix=_how(question))
    for key in chosen:
        option = question.option(key)
        if option is None:
            raise UsageError(f"NO SUCH ANSWER: {key}.", why=question.text, fix=_how(question))
        if option.impossible:
            raise UsageError(f"NOT POSSIBLE HERE: {option.label}.", why=option.impossible)
        if option.doubt and not answer.reason.strip():
            raise UsageError(
                f"A REASON IS NEEDED for {option.label}.",
                why=option.doubt,
                fix="Write in a few words why it is to be this one all the same; by command: "
                "--reason TEXT",
            )
    return Answer(", ".join(chosen), answer.reason.strip(), answer.typed)


def _how(question: Question) -> str:
    if not question.options:
        return question.hint or "Write it down."
    keys = ", ".join(option.key for option in question.options[:9])
    return f"Choose among: {keys}"
