"""A self-hosted gateway that asks several models, has a judge compare them, and answers once.

```python
from consilience import Gateway, load_config

async with Gateway(load_config("consilience.yaml")) as gateway:
    reply = await gateway.complete({"model": "vllm-sr/fusion", "messages": [...]})
    print(reply.text, reply.fusion)
    async for event in gateway.stream({...}):
        ...
```

The names below load on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import create_app
    from .config import Config, load_config, parse_config
    from .errors import ConfigError, ConsilienceError
    from .gateway import Gateway
    from .loopers.base import Progress
    from .reply import Begin, Chunk, Event, Reply, Routed
    from .upstream.scripted import Reply as ScriptedReply
    from .upstream.scripted import ScriptedUpstream

_HOMES = {
    "Begin": ".reply",
    "Chunk": ".reply",
    "Config": ".config",
    "ConfigError": ".errors",
    "ConsilienceError": ".errors",
    "Event": ".reply",
    "Gateway": ".gateway",
    "Progress": ".loopers.base",
    "Reply": ".reply",
    "Routed": ".reply",
    "ScriptedReply": ".upstream.scripted:Reply",
    "ScriptedUpstream": ".upstream.scripted",
    "create_app": ".app",
    "load_config": ".config",
    "parse_config": ".config",
}

__all__ = [
    "Begin",
    "Chunk",
    "Config",
    "ConfigError",
    "ConsilienceError",
    "Event",
    "Gateway",
    "Progress",
    "Reply",
    "Routed",
    "ScriptedReply",
    "ScriptedUpstream",
    "create_app",
    "load_config",
    "parse_config",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    return getattr(import_module(module, __name__), attribute or name)


def __dir__() -> list[str]:
    return __all__
