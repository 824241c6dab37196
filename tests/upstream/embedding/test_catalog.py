from __future__ import annotations

from pathlib import Path

import pytest

from consilience.upstream.embedding import catalog
from consilience.upstream.embedding.base import EmbeddingError
from consilience.upstream.embedding.catalog import (
    EMBEDDING_MODELS,
    MINILM,
    WORDLLAMA,
    EmbeddingModel,
    default_embedding_model,
    embedding_model,
)
from consilience.upstream.weights import path_of


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


def test_model_is_found_by_its_name() -> None:
    assert embedding_model(MINILM.name) is MINILM
    assert embedding_model("other") is None


def fetched(folder: Path, *models: EmbeddingModel) -> dict[str, str]:
    """A cache with files of the right names and sizes, which take no room on the disk."""
    environ = {"CONSILIENCE_CACHE": str(folder)}
    for file in (file for model in models for file in model.files):
        path = path_of(file, environ)
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as out:
            out.truncate(file.size_bytes)
    return environ


@pytest.mark.parametrize(
    ("models", "default"),
    [
        ((), WORDLLAMA),
        ((WORDLLAMA,), WORDLLAMA),
        ((MINILM,), MINILM),
        ((WORDLLAMA, MINILM), MINILM),
    ],
)
def test_default_is_the_best_that_was_fetched(
    tmp_path: Path, models: tuple[EmbeddingModel, ...], default: EmbeddingModel
) -> None:
    assert default_embedding_model(fetched(tmp_path, *models)) is default


def test_default_is_not_a_model_of_which_half_was_fetched(tmp_path: Path) -> None:
    environ = fetched(tmp_path, WORDLLAMA, MINILM)
    path_of(MINILM.files[1], environ).write_bytes(b"half")
    assert default_embedding_model(environ) is WORDLLAMA


def test_default_is_not_a_model_that_nothing_here_can_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "find_spec", lambda _name: None)
    assert not MINILM.is_supported
    assert default_embedding_model(fetched(tmp_path, WORDLLAMA, MINILM)) is WORDLLAMA
