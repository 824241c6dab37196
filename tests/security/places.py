"""A gateway with a canary in every place of its configuration, and models that say canaries.

Three words: `SECRET` must appear nowhere, `SAID` (what upstreams say beside answers) nowhere either,
`PROMPT` (what clients and answers say) in no log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from support.chat_server import chat_server
from support.raw_server import (
    CLOSE,
    RESET,
    Received,
    Step,
    answer,
    chunked,
    event,
    json_answer,
    piece,
    streamed,
)

SECRET, SAID, PROMPT = "c4nary5ecret", "c4nary5aid", "c4naryprompt"
ENVIRON = {
    "THE_KEY": f"{SECRET}-env",
    "HELPER_KEY": f"{SECRET}-helper-env",
    "EMBEDDING_KEY": f"{SECRET}-embedding-env",
    "UNUSED_KEY": f"{SECRET}-unused-env",
    "OPENAI_API_KEY": f"{SECRET}-vendor-env",
}
CLIENT_KEY = f"{SECRET}-client"
_HEADERS = f"x-up: {SAID}-header\r\nset-cookie: s={SAID}-cookie\r\n"
_ERROR = {"error": {"message": f"{SAID} {PROMPT}", "type": SAID, "param": SAID, "code": SAID}}

FAULTS: dict[str, Sequence[Step]] = {
    "bad-request": [json_answer(_ERROR, status=400, headers=_HEADERS)],
    "no-key": [json_answer(_ERROR, status=401, headers=_HEADERS)],
    "too-many": [json_answer(_ERROR, status=429, headers=_HEADERS)],
    "broken": [json_answer(_ERROR, status=500, headers=_HEADERS)],
    "not-json": [answer(f"{SAID} {PROMPT}".encode(), status=503, headers=_HEADERS)],
    "page": [answer(f"<html>{SAID}{PROMPT}</html>".encode(), kind="text/html", headers=_HEADERS)],
    "error-under-200": [json_answer(_ERROR, headers=_HEADERS)],
    "redirect": [answer(b"", status=302, headers=f"location: http://{SAID}/\r\n{_HEADERS}")],
    "odd-kind": [answer(SAID.encode(), kind=f"text/{SAID}", headers=_HEADERS)],
    "odd-head": [f"HTTP/1.1 {SAID}\r\n{SAID}\r\n\r\n".encode(), CLOSE],
    "error-in-stream": streamed(piece("begun "), event(_ERROR)),
    "noise-in-stream": streamed(piece("begun "), f"data: {{{SAID}\n\n".encode()),
    "cut-stream": [*streamed(piece("begun "))[:2], chunked(f": {SAID}\n\n".encode()), RESET],
    "reset": [RESET],
}


def script(request: Received) -> Iterable[Step]:
    """Plays the fault that the model is named after; other models answer."""
    if request.method == "GET":
        return [json_answer(_ERROR, status=401, headers=_HEADERS)]
    if request.path.endswith("/embeddings") or request.path.endswith("/helper"):
        return [json_answer(_ERROR, status=400, headers=_HEADERS)]
    fault = FAULTS.get(request.json["model"])
    return fault or chat_server({"a": f"{PROMPT} from a", "b": f"{PROMPT} from b"})(request)


def configuration(base_url: str, directory: Path) -> str:
    """Gives the file's text; writes the key files that it names."""
    (directory / "key.txt").write_text(f"{SECRET}-file\n")
    port = base_url.rpartition(":")[2].partition("/")[0]
    names = ("a", "b", "j", *FAULTS)
    keys = (
        "api_key: {k}-direct",
        "api_key_env: THE_KEY",
        "api_key_file: key.txt",
        "api_key: $THE_KEY",
    )
    models = "".join(
        f"    - name: {name}\n      backend_refs:\n"
        f"        - {{base_url: '{base_url}', {keys[i % 4].format(k=SECRET)},"
        f" extra_headers: {{X-Tenant: {SECRET}-extra}}}}\n"
        for i, name in enumerate(names)
    )
    return f"""version: v0.3
listeners: [{{name: http, port: 0, api_keys: [{CLIENT_KEY}, $UNUSED_KEY]}}]
providers:
  defaults: {{default_model: a}}
  models:
{models}    - {{name: nobody, backend_refs: [{{endpoint: "127.0.0.1:9", api_key: {SECRET}-nobody}}]}}
    - {{name: nowhere, backend_refs: [{{base_url: "http://{SAID}.invalid/v1"}}]}}
routing:
  signals:
    classifiers: [{{name: c, type: llm, model: helper, labels: ["yes", "no"]}}]
    embeddings: [{{name: e, threshold: 0.5, candidates: [weather]}}]
  decisions:
    - name: asking
      priority: 9
      rules:
        operator: AND
        conditions: [{{type: classifier, name: "c:yes"}}, {{type: embedding, name: e}}]
      modelRefs: [{{model: a}}]
    - name: panel
      priority: 5
      algorithm:
        type: fusion
        fusion: {{model: j, analysis_models: [a, b, broken, page, nobody, error-under-200]}}
      plugins:
        - type: header_mutation
          configuration:
            add: [{{name: x-added, value: {SECRET}-added}}]
            update: [{{name: x-tier, value: {SECRET}-updated}}]
global:
  gateway: {{retry_count: 0}}
  integrations:
    looper: {{headers: {{X-Looper: {SECRET}-looper}}}}
  model_catalog:
    embeddings:
      semantic:
        embedding_config: {{}}
        endpoint: {{base_url: '{base_url}', model: m, api_key_env: EMBEDDING_KEY, max_retries: 0}}
    external:
      - name: helper
        llm_endpoint: {{address: 127.0.0.1, port: {port}, path: /v1/helper}}
        llm_model_name: h
        access_key_env: HELPER_KEY
      - name: other
        llm_endpoint: {{address: 127.0.0.1, port: {port}}}
        llm_model_name: h
        access_key: {SECRET}-helper
"""
