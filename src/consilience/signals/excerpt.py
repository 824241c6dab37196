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


def sampled(text: str, characters: int = 2048) -> str:
    """Gives a text's beginning, middle and end, together at most so many characters."""
    stripped = text.strip()
    if len(stripped) <= characters:
        return stripped
    part = (characters - 2) // 3
    middle = (len(stripped) - part) // 2
    return "\n".join(
        (stripped[:part], stripped[middle : middle + part], stripped[len(stripped) - part :])
    )
