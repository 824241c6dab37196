"""A bounded part of a text: what a request asks stands at its beginning or at its end."""

from __future__ import annotations


def excerpt(text: str, characters: int) -> str:
    """Gives the text itself when it is short enough, else three quarters head, one quarter tail.

    Args:
        text: any text.
        characters: the most that is given, the line break between the two parts not counted.
    """
    if len(text) <= characters:
        return text
    tail = characters // 4
    return f"{text[: characters - tail]}\n{text[len(text) - tail :]}"
