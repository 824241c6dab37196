"""Signal `auxiliary`: prompts that a chat interface sends on its own, not the person using it.

Config: `routing.signals.auxiliary`. Interfaces ask the model for a conversation's title or tags, for
questions to suggest next, for the rest of a half-written line, or for a search query. None of that
needs a panel. A rule matches when the request is one of its `kinds`.

A kind is told by cues of its structure, not by one product's sentences. The task itself must be
there: for `title`, a verb such as generate or suggest with a title or name of the conversation.
So must at least one cue of a machine's prompt: a limit in words or characters, an order to output
only the result, JSON with the result's key, a transcript in tags or under a heading. `autocomplete` is
also told by the marks of fill-in-the-middle prompts. Confidence is 0.6 with one cue, 0.8 with two,
1 with more; the value is the number of cues.

Read are the first 2 250 and last 750 characters of the last user message, and as much of a system
message in front of it when these two are the whole conversation. The words are English, and Chinese
for titles. A person who writes such a prompt by hand is taken for an interface.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from ..chat.request import text_of
from .base import PureSignal, RequestFacts, SignalResult, SignalRule
from .excerpt import excerpt
from .patterns import Pattern, compile_pattern

AuxiliaryKind = Literal["title", "tags", "follow_up", "autocomplete", "query_rewrite"]
KINDS: tuple[AuxiliaryKind, ...] = ("title", "tags", "follow_up", "autocomplete", "query_rewrite")

MAX_TEXT = 3000

_MAKE = (
    r"\b(?:generate|create|write|suggest|give|provide|produce|craft|propose|come up with|reply with"
    r"|respond with|extract|return|output|choose|invent|summari[sz]e|generates?|assign|categori[sz]e)\b"
)
_TALK = (
    r"(?:conversation|chat(?:s|bot)?|chat history|thread|dialog(?:ue)?|session|exchange|discussion"
    r"|message|messages|first message|user'?s? (?:request|message|query|prompt)|following request|topic)"
)
_NEAR = r"[^\n]{0,160}?"

_TASKS: Mapping[AuxiliaryKind, str] = {
    "title": (
        rf"{_MAKE}{_NEAR}\b(?:title|name)\b(?:.|\n){{0,300}}?\b{_TALK}\b"
        rf"|\b{_TALK}\b{_NEAR}\b(?:a|short|concise|brief) (?:title|name)\b"
        rf"|\b(?:title generator|conversation titles?|chat titles?|thread titles?)\b"
        rf"|\bsummari[sz]e{_NEAR}\b(?:conversation|request|message|chat)\b{_NEAR}"
        r"\b(?:words|characters) or (?:less|fewer)"
        r"|\bin (?:under|at most|less than) \d+ (?:words|characters)"
        r"|(?:对话|會話|会话|聊天|这句话|這句話)[^\n]{0,30}(?:标题|標題|主题|主題)"
        r"|(?:标题|標題|主题|主題)[^\n]{0,30}(?:对话|會話|会话|聊天)"
    ),
    "tags": (
        rf"{_MAKE}{_NEAR}\b(?:tags|labels|categories|keywords)\b(?:.|\n){{0,200}}?\b{_TALK}\b"
        rf"|\b{_TALK}\b{_NEAR}{_MAKE}{_NEAR}\b(?:tags|labels)\b"
    ),
    "follow_up": (
        rf"{_MAKE}{_NEAR}\b(?:follow[ -]?up|next|related|suggested)\s+"
        rf"(?:questions?|prompts?|messages?|queries|replies)\b(?:.|\n){{0,300}}?"
        rf"\b(?:user (?:might|may|could|would)|{_TALK}|as an? \**user)\b"
        rf"|{_MAKE}{_NEAR}\bquestions?\b{_NEAR}\b(?:the user|they) (?:might|may|could|would)"
        r"(?: \w+)? (?:ask|want)"
    ),
    "autocomplete": (
        r"\b(?:auto-?complet(?:e|ion)|(?:code|text|inline) completion)"
        r" (?:system|engine|assistant|model|task)\b"
        r"|\b(?:continue|complete|finish)\b[^\n]{0,60}\b(?:text|sentence|line|message|code|snippet)\b"
        r"[^\n]{0,80}(?:<\w+>|\bcursor\b|\bprefix\b|\bcompletion type\b)"
        r"|\b(?:fill in|complete) the (?:missing|hole|blank)[^\n]{0,60}(?:<\w+|\{\{|cursor)"
    ),
    "query_rewrite": (
        rf"\b(?:re-?phrase|re-?write|re-?formulate|condense|convert|turn)\b(?:.|\n){{0,160}}?"
        r"\b(?:stand-?alone|search|retrieval|self-contained)\s+(?:question|quer(?:y|ies))\b"
        rf"|{_MAKE}(?:.|\n){{0,160}}?\b(?:web )?search (?:quer(?:y|ies)|terms|keywords)\b"
        rf"(?:.|\n){{0,300}}?\b(?:{_TALK}|question)\b"
        rf"|\b{_TALK}\b(?:.|\n){{0,200}}?{_MAKE}[^\n]{{0,80}}\bsearch (?:quer(?:y|ies)|terms)\b"
        r"|\b(?:generating|generate|need(?:s|ed)? for|necessity of) (?:web )?search quer"
    ),
}

# Cues of a prompt written by a program. Each counts once.
_LIMIT = (
    r"\b(?:\d+|one|two|three|four|five|six|seven|ten)(?:\s*(?:-|–|to|or)\s*(?:\d+|\w+))?[ -]"  # noqa: RUF001  # a dash of prompts
    r"(?:words?|characters?|chars|tags?|broad|specific|relevant|questions|quer|follow|short)"
    r"|\bwords? or (?:less|fewer)\b|\bcharacters? max|\bmax(?:imum)?(?: of)? \d+"
    r"|\b(?:concise|brief|short|pithy)\b[^\n]{0,30}\b(?:title|name|heading|phrase|tags)\b"
    r"|(?:不超过|不超過|以内|以內|个字|個字|简短|簡短|简要|簡要)"
)
_ONLY = (
    r"\b(?:only|just|exclusively)\b[^\n]{0,60}\b(?:title|name|tags?|json|questions?|quer(?:y|ies)|text"
    r"|completion|answer|output|array|list|result)\b"
    r"|\b(?:title|tags?|json|quer(?:y|ies)|completion) (?:only|and nothing else)\b|\bnothing else\b"
    r"|\b(?:no|without|avoid|omit(?:ting)?|(?:don'?t|do not) (?:use|include|add))\b[^\n]{0,40}"
    r"\b(?:quotes?|quotation|punctuation|explanations?|preamble|additional text|conversation|colons?)\b"
    r"|\bdo(?: not|n'?t) (?:try to )?(?:answer|respond to)\b"
    r"|(?:不要解释|不要解釋|不要标点|不要標點|不要引号|不要多余|只返回|仅返回|直接返回|只输出|仅输出)"
)
_JSON = (
    r"[\"'`](?:title|tags?|follow_?ups?|questions|queries|query|text|completion|suggestions)[\"'`]\s*:"
    r"|\bjson (?:format|object|array)\b|\barray of strings\b|\bjson\b[^\n]{0,40}[{\[]"
)
_TRANSCRIPT = (
    r"<(?:chat_?history|conversation|chat|messages?|history|transcript|context|dialogue|user_message)\b[^>]*>"
    r"|(?:^|\n)[#*\s]*(?:chat history|conversation(?: history)?|transcript|messages?|dialogue"
    r"|follow[ -]?up (?:input|question)|user message|history)\s*\**\s*:?\**\s*\n?"
    r"|\|\|?>\s*(?:user|response)|(?:^|\n)\s*(?:user|human|q)\s*:[^\n]*\n(?:.|\n)*\n?\s*(?:assistant|ai|a)\s*:"
    r"|standalone question\s*:"
)
_FRAME = (
    r"(?:^|\n)#{1,4}\s*(?:task|guidelines|instructions|output|output format|rules|examples?)"
    r"\s*:?\s*(?:\n|$)"
)
_CUES = (_LIMIT, _ONLY, _JSON, _TRANSCRIPT, _FRAME)

_FILL_IN = (
    r"<\|?(?:fim_(?:prefix|suffix|middle|begin|hole)|PRE|SUF|MID)\|?>|<｜fim▁(?:begin|hole|end)｜>"
)
_ANY = "|".join(f"(?:{pattern})" for pattern in (_FILL_IN, *_TASKS.values()))


class AuxiliaryRule(SignalRule):
    """One entry of `routing.signals.auxiliary`."""

    kinds: Annotated[tuple[AuxiliaryKind, ...], Field(min_length=1)] = KINDS
    """What the request may be; all of them by default."""


class Task(NamedTuple):
    """What an interface asks for."""

    kind: AuxiliaryKind
    cues: int
    """How many signs there are that a program wrote the prompt."""


class Auxiliary(PureSignal[AuxiliaryRule]):
    """Prompts of chat interfaces."""

    kind: ClassVar[str] = "auxiliary"
    config_key: ClassVar[str] = "auxiliary"
    Rule: ClassVar[type[SignalRule]] = AuxiliaryRule

    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        tasks = {task.kind: task for task in find_tasks(_prompt(facts))}
        return {rule.name: _result(rule, tasks) for rule in self.rules}


def find_tasks(text: str) -> Sequence[Task]:
    """Gives the tasks that a prompt may set, none for a person's question."""
    prompt = text.encode("utf-8", "replace")
    if _compiled(_ANY).search(prompt) is None:
        return ()  # what nearly every prompt comes to, after one pass instead of six
    if _compiled(_FILL_IN).search(prompt) is not None:
        return (Task("autocomplete", 3),)
    kinds = [kind for kind in KINDS if _compiled(_TASKS[kind]).search(prompt) is not None]
    cues = sum(_compiled(cue).search(prompt) is not None for cue in _CUES) if kinds else 0
    return [Task(kind, cues) for kind in kinds] if cues else ()


def _prompt(facts: RequestFacts) -> str:
    """The last user message, after the system message when the two are all there is."""
    text = excerpt(facts.text, MAX_TEXT)
    messages = facts.request.messages
    if len(messages) == 2 and messages[0]["role"] in ("system", "developer"):
        return f"{excerpt(text_of(messages[0]), MAX_TEXT)}\n{text}"
    return text


def _result(rule: AuxiliaryRule, tasks: Mapping[AuxiliaryKind, Task]) -> SignalResult:
    for kind in rule.kinds:
        if kind in tasks:
            cues = tasks[kind].cues
            confidence = min(1.0, 0.4 + 0.2 * cues)
            return SignalResult(True, confidence, float(cues), detail={"kind": kind})
    return _NO_MATCH


_NO_MATCH = SignalResult(False, value=0.0)


@cache
def _compiled(pattern: str) -> Pattern:
    return compile_pattern(pattern)
