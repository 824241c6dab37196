"""Phrases (RE2) that attacks on an assistant's instructions are made of, in seven languages.

None of them is proof: texts about such attacks have them too. Each kind that occurs is evidence that
the classifier's probability is weighed with.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from .patterns import Pattern, compile_pattern

_OF_BEFORE = (
    r"(?:all |any |the |your |my |of |these |those |every )*(?:previous|prior|above|earlier|preceding"
    r"|existing|original|initial|system|developer|safety|former|foregoing|given)[\w ]{0,20}"
)
_ORDERS = (
    r"(?:instructions?|prompts?|rules?|guidelines?|directives?|directions|messages?|policy|policies"
    r"|commands?|constraints?|restrictions?|filters?|training|programming|context)"
)
OVERRIDE = (
    rf"\b(?:ignore|disregard|forget|override|bypass|discard|drop|cancel|neglect)\b[\w ,]{{0,20}}"
    rf"(?:{_OF_BEFORE}{_ORDERS}|your (?:{_ORDERS}|safety|guardrails))"
    r"|\bignora(?:r|d)?\b[\w ,]{0,20}(?:instrucciones|reglas|instruções|regras|istruzioni|regole)"
    r"|\b(?:ignore[rz]?|oublie[rz]?)\b[\pL '’]{0,30}(?:instructions|consignes|règles)"
    r"|\b(?:ignoriere|vergiss)\b[\pL ]{0,30}(?:anweisungen|regeln|vorgaben|instruktionen)"
    r"|(?:игнорируй|забудь)[\pL ]{0,30}(?:инструкции|правила|указания)"
    r"|(?:忽略|无视|忘记|忘掉|绕过|跳过)[^。！？\n]{0,10}(?:指令|指示|规则|提示词|提示|限制|设定|安全)"
    r"|(?:指示|指令|ルール|命令)を?[^。\n]{0,6}(?:無視|忘れ)"
)
"""Away with the instructions."""
EXTRACT = (
    r"\b(?:reveal|show|print|output|display|repeat|dump|expose|leak|tell me|give me|write out|recite"
    r"|disclose|return)\b[\w ,']{0,30}\b(?:system|hidden|secret|initial|internal|developer|original|full)"
    r"[ -]?(?:\w+ )?(?:prompt|instructions?|message|rules|policy|configuration|guidelines|directives)"
    r"|\b(?:print|dump|reveal|expose|leak|exfiltrate|steal|extract)\b[\w ,']{0,30}"
    r"\b(?:api[ -]?keys?|credentials|passwords?|secrets?|tokens?|private keys?|environment variables)\b"
    r"|\brepeat (?:everything|all(?: the)? (?:text|words)|the (?:text|words)) above\b"
    r"|(?:输出|泄露|显示|打印|告诉我|透露|公开|复述)[^。！？\n]{0,10}(?:系统提示|提示词|隐藏指令|内部(?:规则|策略|指令)|密钥|凭据)"
)
"""Out with what is hidden."""
PERSONA = (
    r"\b(?:you are|act as|become|pretend (?:to be|you are)|roleplay as|play)\b[\w ,'\"]{0,40}"
    r"\b(?:DAN|unrestricted|unfiltered|uncensored|jailbroken|without (?:any )?(?:rules|restrictions"
    r"|filters|limits|limitations|ethics|guidelines)|no (?:rules|restrictions|filters|limits))\b"
    r"|\b(?:developer|debug|god|admin|jailbreak|sudo|unrestricted) mode\b[\w ,]{0,20}"
    r"(?:enabled|activated|on|now|unlocked)?"
    r"|\bdo anything now\b|\bno longer bound by\b"
    r"|(?:没有(?:任何)?(?:限制|规则|约束)|不受(?:任何)?(?:限制|约束))"
)
"""Somebody else to be."""
FORGERY = (
    r"<\|?(?:im_start|system|assistant|start_header_id)\|?>|\[/?INST\]|<<SYS>>|</?(?:system|assistant)>"
    r"|(?:^|\n)\s*(?:#{1,4}|```)\s*system\b|(?:^|\n)\s*(?:system|developer)\s*(?:prompt|message|override)?\s*:"
    r"|\bbegin (?:system|new) (?:prompt|instructions?)\b"
)
"""Turns and marks that only a program writes."""
SILENCE = (
    r"\b(?:never|don'?t|do not|without) (?:ever )?(?:refus\w+|apologi[sz]\w+|warn\w*|mention\w*"
    r"|say(?:ing)? (?:you can'?t|no|sorry)|add(?:ing)? (?:a )?(?:disclaimers?|warnings?))"
    r"|\bstart (?:your (?:answer|response|reply) )?with ['\"“](?:sure|absolutely|of course|yes)"
)
"""No refusal allowed."""
KINDS = (OVERRIDE, EXTRACT, PERSONA, FORGERY, SILENCE)


def phrases_in(text: str) -> Sequence[float]:
    """Gives 1 for each kind of tell-tale phrase that occurs in a text, else 0; and how many kinds."""
    raw = text.encode("utf-8", "replace")
    found = [float(pattern.search(raw) is not None) for pattern in _phrases()]
    return (*found, sum(found) / len(found))


@cache
def _phrases() -> Sequence[Pattern]:
    return [compile_pattern(pattern) for pattern in KINDS]
