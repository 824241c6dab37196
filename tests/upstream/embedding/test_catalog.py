from __future__ import annotations

from pathlib import Path

import pytest

from consilience.upstream.embedding.base import EmbeddingError
from consilience.upstream.embedding.catalog import (
    DEFAULT_EMBEDDING_MODEL,
    EMBEDDING_MODELS,
    EmbeddingModel,
    embedding_model,
)


@pytest.mark.parametrize("model", EMBEDDING_MODELS, ids=lambda model: model.name)
def test_model_is_loaded_from_the_cache(model: EmbeddingModel) -> None:
    assert model.is_pulled()
    encoder = model.encoder()
    assert encoder.encode(["red", "blue"]).shape[0] == 2
    assert encoder.identity.startswith(f"{model.name}:")


@pytest.mark.parametrize("model", EMBEDDING_MODELS, ids=lambda model: model.name)
def test_model_that_was_not_fetched_is_not_there(model: EmbeddingModel, tmp_path: Path) -> None:
    environ = {"CONSILIENCE_CACHE": str(tmp_path)}
    assert not model.is_pulled(environ)
    with pytest.raises(EmbeddingError):
        model.encoder(environ)


def test_sizes_count_each_wheel_once() -> None:
    wordllama, minilm = EMBEDDING_MODELS
    assert wordllama.download_bytes == wordllama.files[0].wheel_bytes
    assert minilm.download_bytes == sum(file.wheel_bytes for file in minilm.files)
    assert all(model.size_bytes > 1 << 20 for model in EMBEDDING_MODELS)


def test_default_is_in_the_catalog() -> None:
    assert embedding_model(DEFAULT_EMBEDDING_MODEL) is EMBEDDING_MODELS[0]
    assert embedding_model("other") is None
