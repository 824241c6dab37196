"""What classifiers have learned with the embedding models of the catalog: one file each.

Written by `python -m benchmarks.train`; a test fails when the examples have changed since.
"""

from __future__ import annotations

import io
import logging
import re
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np

from ..learning import Learned

log = logging.getLogger(__name__)

_VERSION = 5
"""Of the features and of the way of training: another one makes every kept file stale."""
_BREAK = "\n"


def kept(family: str, identity: str, source: bytes) -> Learned | None:
    """Gives what was learned for an embedding model; None when there is nothing, or nothing fresh.

    A file that cannot be read is logged and counts as none: it costs the time to train, and no more.

    Args:
        family: of the examples.
        identity: of the embedding model.
        source: the examples, as they are now.
    """
    file = _file(family, identity)
    if not file.is_file():
        return None
    try:
        return _read(file, stamp(identity, source))
    except Exception as exc:  # numpy, zipfile and zlib raise whatever the bytes make of them
        log.warning("weights_unreadable", extra={"file": file.name}, exc_info=exc)
        return None


def _read(file: Traversable, wanted: str) -> Learned | None:
    with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as arrays:
        if _text(arrays["stamp"]) != wanted:
            return None
        terms = _text(arrays["terms"]).split(_BREAK)
        return Learned(
            tuple(_text(arrays["labels"]).split(_BREAK)),
            dict(zip(terms, arrays["inverse"].astype(float).tolist(), strict=True)),
            by_vector=arrays["by_vector"].astype(np.float32),
            by_word=arrays["by_word"].astype(np.float32),
            by_figure=arrays["by_figure"].astype(np.float32),
            lean=arrays["lean"],
            rare=float(arrays["rare"]),
            temperature=float(arrays["temperature"]),
            left_out_accuracy=float(arrays["left_out_accuracy"]),
        )


def as_file(learned: Learned, identity: str, source: bytes) -> bytes:
    """Gives the content of the file that `kept` reads."""
    out = io.BytesIO()
    np.savez_compressed(
        out,
        stamp=_bytes(stamp(identity, source)),
        labels=_bytes(_BREAK.join(learned.labels)),
        terms=_bytes(_BREAK.join(learned.inverse)),
        inverse=np.array(list(learned.inverse.values()), np.float32),
        by_vector=learned.by_vector.astype(np.float16),
        by_word=learned.by_word.astype(np.float16),
        by_figure=learned.by_figure.astype(np.float16),
        lean=learned.lean.astype(np.float32),
        rare=np.array(learned.rare),
        temperature=np.array(learned.temperature),
        left_out_accuracy=np.array(learned.left_out_accuracy),
    )
    return out.getvalue()


def file_name(family: str, identity: str) -> str:
    """Gives the name of the file for a family and an embedding model."""
    model = re.sub(r"[^a-z0-9]+", "-", identity.partition(":")[0].lower())
    return f"{family}.{model}.npz"


def stamp(identity: str, source: bytes) -> str:
    """Gives what must be the same for kept weights to be fresh."""
    return sha256(f"{_VERSION}\0{identity}\0".encode() + source).hexdigest()


def _file(family: str, identity: str) -> Traversable:
    return files(__name__).joinpath(file_name(family, identity))


def _bytes(text: str) -> Any:
    return np.frombuffer(text.encode("utf-8", "replace"), np.uint8)


def _text(array: Any) -> str:
    raw: bytes = array.tobytes()
    return raw.decode("utf-8")
