"""Values that are each right and do not go together."""

from __future__ import annotations


class MisfitError(ValueError):
    """What a validator of several fields raises.

    Whoever reports several mistakes at once must tell a mistake from the mere consequence of
    another one: it is one only if something that it depends on was wrong itself.
    """

    def __init__(self, message: str, *fields: str, certain: bool = False) -> None:
        super().__init__(message)
        self.fields = fields
        """Everything in the block that it depends on. Without the first, the rest is right."""
        self.certain = certain
        """Whether it is so whatever else is wrong, as of an entry that stands twice."""
