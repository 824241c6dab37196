"""The command line. Commands are declared here and carried out in one file each.

Those files are imported when their command runs: `--help` must not wait for an HTTP stack.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .exit_codes import EPILOG
from .strays import ReadsConfig

app = typer.Typer(
    name="consilience",
    help="Ask several models, have a judge compare them, answer once.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
models_app = typer.Typer(
    help="Models that run on this machine without a key.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(models_app, name="models")
config_app = typer.Typer(
    help="The format of the configuration file.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(config_app, name="config")

keys_app = typer.Typer(
    help="Keys of your own, each with what it may use and spend.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(keys_app, name="keys")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Configuration file. Default: what is found here."),
]
LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
StoreOption = Annotated[
    Path | None, typer.Option(help="The file of keys. Default: the configuration's, or the user's.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def main() -> None:
    """Runs the command line and exits."""
    app(prog_name="consilience")


def _run(module: str, function: str, **arguments: Any) -> None:
    import_module(".console", __package__).use_any_encoding()
    code = getattr(import_module(f".{module}", __package__), function)(**arguments)
    raise typer.Exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"consilience {version('consilience')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(cls=ReadsConfig)
def serve(
    config: ConfigOption = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Default: the file's, or 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Default: the file's, or 8899; 0 takes a free one."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that share the port.")] = 1,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Listen beyond this machine without client keys.")
    ] = False,
    log_format: Annotated[LogFormat, typer.Option(help="How log lines are written.")] = "text",
    log_level: Annotated[LogLevel, typer.Option(help="The least that is logged.")] = "info",
) -> None:
    """Start the gateway. Without a file it uses the models it finds."""
    _run(
        "serve",
        "serve",
        config=config,
        host=host,
        port=port,
        workers=workers,
        no_auth=no_auth,
        log_format=log_format,
        log_level=log_level,
    )


@app.command(cls=ReadsConfig)
def ask(
    prompt: Annotated[str, typer.Argument(help="The question; - reads standard input.")],
    config: ConfigOption = None,
    url: Annotated[
        str | None, typer.Option(help="A running gateway, as http://127.0.0.1:8899.")
    ] = None,
    model: Annotated[str, typer.Option(help="Slug or model.")] = "vllm-sr/fusion",
    system: Annotated[str | None, typer.Option(help="A system prompt.")] = None,
    trace: Annotated[
        bool, typer.Option("--trace", help="Show each panel answer and the judge's analysis.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the answer.")] = False,
    as_json: JsonOption = False,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest answer, in tokens.")
    ] = None,
) -> None:
    """Ask one question and watch the panel work. The answer alone goes to standard output."""
    _run(
        "ask",
        "ask",
        prompt=prompt,
        config=config,
        url=url,
        model=model,
        system=system,
        trace=trace,
        quiet=quiet,
        as_json=as_json,
        max_tokens=max_tokens,
    )


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The configuration file.")],
    as_json: JsonOption = False,
) -> None:
    """Check a configuration file; every problem is shown at once."""
    _run("check", "check", file=file, as_json=as_json)


@app.command(cls=ReadsConfig)
def explain(
    prompt: Annotated[
        str | None, typer.Argument(help="The prompt; - reads standard input.")
    ] = None,
    messages: Annotated[
        Path | None,
        typer.Option(help="A JSON file in place of the prompt: messages, or a whole request."),
    ] = None,
    config: ConfigOption = None,
    model: Annotated[
        str | None, typer.Option(help="Slug or model. Default: the first auto alias.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show where a prompt would go, why, and about what it would cost. No model is called."""
    _run(
        "explain",
        "explain",
        prompt=prompt,
        messages=messages,
        config=config,
        model=model,
        as_json=as_json,
    )


@app.command()
def init(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write; - for standard output.")
    ] = Path("consilience.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented configuration file from the keys and servers found here."""
    _run("init", "init", output=output, force=force)


@app.command()
def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Look at everything the gateway needs and say what to mend."""
    _run("doctor", "doctor", config=config, as_json=as_json)


@config_app.command("schema")
def config_schema() -> None:
    """Print the configuration file's JSON Schema (draft 2020-12), for editors."""
    _run("schema", "schema")


@models_app.command("pull")
def models_pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Which; see `models list`. Default: smollm2-135m-instruct."),
    ] = None,
) -> None:
    """Fetch models into this user's cache and verify them."""
    _run("models", "pull", names=names or ["smollm2-135m-instruct"])


@models_app.command("list")
def models_list(as_json: JsonOption = False) -> None:
    """List the models that can be fetched, and those that are here."""
    _run("models", "list_models", as_json=as_json)


@models_app.command("rm")
def models_rm(name: Annotated[str, typer.Argument(help="Which model.")]) -> None:
    """Delete a model from this user's cache."""
    _run("models", "remove", name=name)


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="What to call it: who or what it is for.")],
    models: Annotated[
        str | None, typer.Option(help="Models and slugs it may name, by commas. Default: all.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="How long it is good: 12h, 30d. Default: until revoked.")
    ] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1)] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=1)] = None,
    usd_per_day: Annotated[
        str | None, typer.Option(help="Dollars that a day (UTC) may cost, such as 2.50.")
    ] = None,
    usd_per_month: Annotated[
        str | None, typer.Option(help="Dollars that a month (UTC) may cost.")
    ] = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key. It is shown now and never again: only its SHA-256 is kept."""
    _run(
        "keys",
        "create",
        name=name,
        models=models,
        expires=expires,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        usd_per_day=usd_per_day,
        usd_per_month=usd_per_month,
        config=config,
        store=store,
        as_json=as_json,
    )


@keys_app.command("list")
def keys_list(
    config: ConfigOption = None, store: StoreOption = None, as_json: JsonOption = False
) -> None:
    """List the keys, what each may do, and what it spent today and this month."""
    _run("keys", "list_keys", config=config, store=store, as_json=as_json)


@keys_app.command("revoke")
def keys_revoke(
    name: Annotated[str, typer.Argument(help="Name or id.")],
    config: ConfigOption = None,
    store: StoreOption = None,
) -> None:
    """End a key. A running gateway refuses it within two seconds."""
    _run("keys", "revoke", name=name, config=config, store=store)


@keys_app.command("rotate")
def keys_rotate(
    name: Annotated[str, typer.Argument(help="Name or id.")],
    grace: Annotated[
        str | None, typer.Option(help="How long the old key stays good: 1h. Default: not at all.")
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="End a key before the old one that is still good.")
    ] = False,
    config: ConfigOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace a key by a new one; limits and what was spent stay."""
    _run(
        "keys",
        "rotate",
        name=name,
        grace=grace,
        end_former=now,
        config=config,
        store=store,
        as_json=as_json,
    )
