"""Changes to the headers that a request's upstream calls carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """What is different about the headers of one request's calls. Never shown: values are secrets."""

    added: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent where the call has no header of this name. Names in lower case, here and below."""
    updated: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent in any case, in place of a header of this name."""
    deleted: frozenset[str] = frozenset()
    """Not sent."""

    def applied(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Gives the headers to send in place of these; names are compared without case."""
        replaced = self.deleted | self.updated.keys()
        kept = {name: value for name, value in headers.items() if name.lower() not in replaced}
        present = {name.lower() for name in headers} | replaced
        new = {name: value for name, value in self.added.items() if name not in present}
        return {**kept, **new, **self.updated}
