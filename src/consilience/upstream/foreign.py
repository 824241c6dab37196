"""The client library's exceptions, told as ours."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from ..chat.sse import EventTooLargeError
from ..errors import (
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
)

_OURS = frozenset((errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM))
"""What the system says when it is this process, or this machine, that can open no more."""


@contextmanager
def our_errors(model: str) -> Iterator[None]:
    """Turns the client library's exceptions into ours; the first class that fits wins."""
    try:
        yield
    except UpstreamError:
        raise
    except aiohttp.ConnectionTimeoutError as exc:  # another backend may well take the call
        raise UpstreamConnectionError("could not be connected to in time", model=model) from exc
    except TimeoutError as exc:  # aiohttp's other timeouts are this too
        raise UpstreamTimeoutError("did not answer in time", model=model) from exc
    except aiohttp.ClientConnectorDNSError as exc:
        raise UpstreamConnectionError("its host name does not resolve", model=model) from exc
    except aiohttp.ClientSSLError as exc:
        raise UpstreamConnectionError(
            "its TLS certificate or handshake failed", model=model, reason="tls"
        ) from exc
    except aiohttp.ClientConnectorError as exc:
        if exc.errno in _OURS:
            raise UpstreamConnectionError(
                "could not be connected to: this gateway has no file or port left",
                model=model,
                reason="exhausted",
            ) from exc
        raise UpstreamConnectionError("could not be connected to", model=model) from exc
    except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, OSError) as exc:
        raise UpstreamConnectionError("the connection broke", model=model, sent=True) from exc
    except EventTooLargeError as exc:
        raise UpstreamProtocolError(str(exc), model=model, reason="too_large") from exc
    except (aiohttp.ClientError, ValueError) as exc:
        raise UpstreamProtocolError("the answer is not proper HTTP", model=model) from exc
