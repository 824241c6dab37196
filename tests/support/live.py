"""The real gateway under uvicorn (uvloop, httptools) on a free port of the loopback interface.

```python
with live_gateway(config_text, upstream=ScriptedUpstream("hi")) as base_url:
    reply = post(base_url, {"model": "small", "messages": [...]})  # support.client
```
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from consilience.app import create_app
from consilience.config import Config, parse_config
from consilience.http.protocol import ClientBounds, guarded
from consilience.upstream.base import Upstream


@contextmanager
def live_gateway(config: str | Config, upstream: Upstream | None = None) -> Iterator[str]:
    """Serves a configuration until the block is left; gives `http://127.0.0.1:<port>`.

    The server has an event loop and a thread of its own, so both blocking and async clients work.

    Args:
        config: YAML text, or a checked configuration.
        upstream: serves every model in place of its backends.
    """
    checked = parse_config(config) if isinstance(config, str) else config
    bounds = ClientBounds.of(checked.global_.gateway)
    with serve(create_app(checked, upstream=upstream), bounds) as base_url:
        yield base_url


@contextmanager
def serve(app: object, bounds: ClientBounds | None = None) -> Iterator[str]:
    """Serves any ASGI application like `live_gateway`."""
    within = bounds or ClientBounds()
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    settings = uvicorn.Config(
        app,  # type: ignore[arg-type]
        loop="uvloop",
        http=guarded(within),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    server = _PromptServer(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the gateway did not start")
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(15)
        listening.close()


class _PromptServer(uvicorn.Server):
    """Notices ten times sooner that it is to stop: a test suite starts many of them."""

    async def main_loop(self) -> None:
        counter = 0
        while not await self.on_tick(counter):
            counter += 1
            await asyncio.sleep(0.01)


def model_yaml(name: str, base_url: str = "http://127.0.0.1:9/v1", more: str = "") -> str:
    """One entry of `providers.models`, in flow style. `more`: further keys, `", key: value"`."""
    return f"    - {{name: {name}, backend_refs: [{{base_url: '{base_url}'}}]{more}}}\n"


def fusion_yaml(
    *,
    base_url: str = "http://127.0.0.1:9/v1",
    gateway: str = "",
    listener: str = "",
    fusion: str = "",
    decision: str = "",
    models: str = "",
) -> str:
    """A configuration with models `a`, `b`, `j` and one Fusion decision `panel` of them.

    Args:
        base_url: where the models are served.
        gateway: keys of `global.gateway` in flow style.
        listener: more keys of the listener in flow style.
        fusion: more keys of the decision's `fusion` block in flow style.
        decision: more keys of the decision in flow style.
        models: more entries of `providers.models`.
    """
    named = "".join(model_yaml(name, base_url) for name in ("a", "b", "j"))
    return (
        "version: v0.3\n"
        f"listeners: [{{name: http, port: 0{', ' + listener if listener else ''}}}]\n"
        f"providers:\n  models:\n{named}{models}"
        "routing:\n  decisions:\n"
        "    - name: panel\n"
        f"      algorithm: {{type: fusion, fusion: {{model: j, analysis_models: [a, b],"
        f" shuffle_seed: 1{', ' + fusion if fusion else ''}}}}}\n"
        f"{('      ' + decision + chr(10)) if decision else ''}"
        f"global:\n  gateway: {{{gateway}}}\n"
    )
