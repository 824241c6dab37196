"""A sentence model in ONNX: a folder, or two files, as sentence-transformers exports them."""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from kitoken import Kitoken

from .base import EmbeddingError, Matrix, as_text, unit

MAX_TOKENS = 256
"""Of one text; what comes after is not read. Bounds a request's cost whatever the model takes."""
BATCH_TOKENS = 512
"""Tokens in one run, padding included: what bounds its memory."""
_MANY = 16
_GRAPHS = ("model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx")

Pooling = Literal["mean", "cls"]


@dataclass(frozen=True, slots=True)
class SentenceFiles:
    """Where a model lies."""

    graph: Path
    tokenizer: Path
    pooling: Pooling = "mean"

    @classmethod
    def of_folder(cls, folder: Path) -> SentenceFiles:
        """Finds the files of a model in its folder.

        Raises:
            EmbeddingError: there is no `model.onnx` or no `tokenizer.json`.
        """
        graph = next((folder / name for name in _GRAPHS if (folder / name).is_file()), None)
        if graph is None:
            raise EmbeddingError(f"there is no model.onnx in {folder}")
        if not (folder / "tokenizer.json").is_file():
            raise EmbeddingError(f"there is no tokenizer.json in {folder}")
        pooling = _object(folder / "1_Pooling" / "config.json")
        by_first = pooling.get("pooling_mode_cls_token") is True
        return cls(graph, folder / "tokenizer.json", "cls" if by_first else "mean")


class SentenceEncoder:
    """Runs the model on one core; releases the interpreter's lock while it computes."""

    def __init__(self, files: SentenceFiles, *, identity: str) -> None:
        """Loads the model.

        Raises:
            EmbeddingError: onnxruntime is not installed, or a file is not what it should be.
        """
        self.identity = identity
        self._pooling = files.pooling
        self._before, self._after, self._tokens = _tokenizer(files.tokenizer)
        self._session = _session(files.graph)
        self._inputs = {each.name for each in self._session.get_inputs()}
        outputs = [each.name for each in self._session.get_outputs()]
        self._output = "sentence_embedding" if "sentence_embedding" in outputs else outputs[0]
        self._try(files.graph)
        _give_memory_back()

    def is_quick(self, texts: Sequence[str]) -> bool:
        return not texts

    def encode(self, texts: Sequence[str]) -> Matrix:
        tokens = [self._ids(text) for text in texts]
        found: dict[int, Any] = {}
        for batch in _batches([len(each) for each in tokens]):
            found |= zip(batch, self._run([tokens[i] for i in batch]), strict=True)
        if len(texts) > _MANY:  # prototypes, not a request's
            _give_memory_back()
        if not found:
            return np.zeros((0, 0), np.float32)
        rows: Matrix = np.stack([found[i] for i in range(len(texts))]).astype(np.float32)
        return unit(rows)

    def _try(self, graph: Path) -> None:
        """Raises EmbeddingError when the model gives no vector of a text."""
        try:
            (row,) = self.encode(("a",))
        except Exception as exc:  # onnxruntime's errors share no class
            raise EmbeddingError(f"{graph.name} cannot be run: {type(exc).__name__}") from exc
        if row.ndim != 1 or not np.isfinite(row).all():
            raise EmbeddingError(f"{graph.name} is no model that embeds texts")

    def _ids(self, text: str) -> list[int]:
        room = MAX_TOKENS - len(self._before) - len(self._after)
        return [*self._before, *self._tokens.encode(as_text(text), False)[:room], *self._after]

    def _run(self, batch: Sequence[Sequence[int]]) -> Matrix:
        # a model without tokens around a text may have none at all
        ids = np.zeros((len(batch), max(1, *map(len, batch))), np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        feed = {name: array for name, array in given.items() if name in self._inputs}
        (out,) = self._session.run([self._output], feed)
        if out.ndim == 2:
            return np.asarray(out)
        if self._pooling == "cls":
            return np.asarray(out[:, 0])
        weights = mask[:, :, None].astype(np.float32)
        return np.asarray((out * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1))


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Gives which texts are run together: alike in length, so that little is padding."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[i] > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _session(graph: Path) -> Any:
    try:
        import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra, only here
    except ImportError:
        raise EmbeddingError(
            "onnxruntime is not installed: pip install 'consilience[onnx]'"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # it keeps what the longest batch needed, for ever
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime's errors share no class
        raise EmbeddingError(f"{graph.name} cannot be loaded: {type(exc).__name__}") from exc


def _give_memory_back() -> None:
    """Has glibc return what loading freed: it would keep some 80 MB for a model of 23."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


def _tokenizer(path: Path) -> tuple[list[int], list[int], Kitoken]:
    """The tokens before and after a text, and what gives those between."""
    definition = _object(path)
    # padding and cutting are done here: a text in the middle of a batch must not carry its own
    bare = {**definition, "padding": None, "truncation": None}
    try:
        tokens = Kitoken.from_tokenizers(json.dumps(bare).encode())
    except Exception as exc:  # kitoken raises ValueError and its own
        raise EmbeddingError(f"{path.name} cannot be loaded: {type(exc).__name__}") from exc
    try:
        before, after = _frame(definition.get("post_processor") or {})
    except (AttributeError, KeyError, TypeError, IndexError) as exc:
        raise EmbeddingError(f"{path.name} has a post_processor of an unknown form") from exc
    return before, after, tokens


def _frame(processor: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """The special tokens around a text, as tokenizer.json declares them."""
    processors = [processor, *(processor.get("processors") or ())]
    for each in processors:
        if each.get("type") == "TemplateProcessing":
            ids = {name: entry["ids"] for name, entry in each.get("special_tokens", {}).items()}
            before: list[int] = []
            after: list[int] = []
            side = before
            for piece in each.get("single", ()):
                if "Sequence" in piece:
                    side = after
                else:
                    side += ids.get(piece["SpecialToken"]["id"], [])
            return before, after
        if each.get("type") in ("BertProcessing", "RobertaProcessing"):
            return [each["cls"][1]], [each["sep"][1]]
    return [], []


def _object(path: Path) -> dict[str, Any]:
    """A JSON object in a file; an empty one when there is no such file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise EmbeddingError(f"{path.name} is not readable JSON") from exc
    return value if isinstance(value, dict) else {}
