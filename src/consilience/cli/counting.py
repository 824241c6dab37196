"""Where several workers count together: a folder of theirs, for as long as the parent lives."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client.multiprocess import mark_process_dead

from ..telemetry.metrics import FOLDER_VARIABLE


@contextmanager
def counted_together() -> Iterator[Callable[[str], None]]:
    """Has the workers that are started meanwhile count into one folder, which is then removed.

    Gives what to call with the name of a worker's process that has ended: what it counted stays in
    the sums, what it had in hand leaves them.
    """
    before = os.environ.get(FOLDER_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="consilience-", ignore_cleanup_errors=True) as folder:
        os.environ[FOLDER_VARIABLE] = folder
        try:
            yield lambda name: mark_process_dead(name, folder)  # type: ignore[no-untyped-call]
        finally:
            if before is None:
                del os.environ[FOLDER_VARIABLE]
            else:
                os.environ[FOLDER_VARIABLE] = before
