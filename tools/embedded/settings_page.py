"""The page of all settings: every variable the programs of the platform read, from the settings classes themselves."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, cast, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from embedded.provider.settings import Settings as SandboxSettings
from embedded.workspace import NAMES
from shared.settings import PREFIX, OriginList, ServiceSettings

PROGRAMS: Final = (
    ("MC_PORT", "`make run`, `make demo`", "8000", "First of the ports the platform on one machine takes"),
    ("MC_DATA", "`make run`, `make demo`", "`.local`", "Folder of the databases, files and secrets of that platform"),
    ("MC_ORIGINS", "`make run`", "pages of this machine", "Further origins whose pages may call, for all services"),
    ("MC_SHARED_DATA", "tests, replay", "`../shared/data`", "Folder of data of others, which no clone has"),
    ("MC_ENV", "every service", "none", "`test` lets MC_FAILPOINT end a process; nothing else reads it"),
    ("MC_FAILPOINT", "every service", "none", "`point[:nth]`: where a test ends the process"),
    ("MC_TRAFFIC_SEED", "a test of the gateway", "a new one", "Repeats a run of random traffic"),
    ("MC_POSTGRES_PASSWORD", "`docker compose`", "made", "Password of the database's superuser"),
    ("MC_SERVICES_PASSWORD", "`docker compose`", "made", "Password of the services' database roles"),
    ("MC_RABBITMQ_PASSWORD", "`docker compose`", "made", "Password of the broker's user"),
    ("MC_STORAGE_PASSWORD", "`docker compose`", "made", "Password of the file store's user"),
    ("MC_GATEWAY_WRAPPING_KEY", "`docker compose`", "made", "MC_WRAPPING_KEY of the gateway"),
    ("MC_CREDENTIALS_WRAPPING_KEY", "`docker compose`", "made", "MC_WRAPPING_KEY of credentials"),
)
"""What no settings class reads: variable, reader, default, meaning."""

_UNITS: Final = {
    "per_minute": "calls a minute",
    **{unit: unit for unit in ("seconds", "minutes", "hours", "days", "years")},
    "bytes": "bytes",
}
_FORMS: Final = {bool: "true or false", int: "number", float: "number", str: "text", SecretStr: "text, secret"}

_INTRODUCTION: Final = """\
# Settings

Generated from the settings classes; `make docs` writes it anew. Every program reads its settings from its environment
once, when it starts. A service refuses to start where one is missing, wrong or unknown.

A variable means the same wherever it stands: `MC_WRAPPING_KEY` is the key under which a service encrypts what it
stores, and `MC_EVIDENCE_URL` with all that begins with `MC_EVIDENCE_` is about the files people hand in as evidence, of
prior learning at credentials and of another name at enrolment. Each service has a key and a place of its own.
"""


def page() -> str:
    """Return the Markdown page of all settings."""
    lines = [_INTRODUCTION]
    lines += ["## Every service", "", *_table(ServiceSettings, PREFIX, list(ServiceSettings.model_fields))]
    for name in NAMES:
        kind = _settings_of(name)
        if own := [field for field in kind.model_fields if field not in ServiceSettings.model_fields]:
            lines += [f"## {name}", "", *_table(kind, PREFIX, own)]
    lines += ["## The sandbox payment provider", ""]
    lines += _table(SandboxSettings, "SANDBOX_", list(SandboxSettings.model_fields))
    lines += [
        "## Read by no service as a setting",
        "",
        "| Variable | Read by | Default | Meaning |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{name}` | {reader} | {default} | {meaning} |" for name, reader, default, meaning in PROGRAMS]
    return "\n".join([*lines, ""])


def _settings_of(name: str) -> type[ServiceSettings]:
    kind = import_module(f"{name}.settings").Settings
    assert issubclass(kind, ServiceSettings)
    return kind


def _table(kind: type[BaseSettings], prefix: str, names: list[str]) -> list[str]:
    return [
        "| Variable | Form, unit | Default | Meaning |",
        "|---|---|---|---|",
        *(f"| `{prefix}{name.upper()}` | {' | '.join(_cells(name, kind.model_fields[name]))} |" for name in names),
        "",
    ]


def _cells(name: str, field: FieldInfo) -> Iterator[str]:
    if not field.description:
        raise ValueError(f"the setting {name} has no description")
    yield _form(name, field)
    yield "required" if field.is_required() else _default(field)
    yield field.description.replace("|", "\\|")


def _form(name: str, field: FieldInfo) -> str:
    unit = next((unit for ending, unit in _UNITS.items() if name.endswith(f"_{ending}")), None)
    if unit is not None:
        return unit
    if field.annotation == get_args(OriginList)[0] and field.metadata:
        return "origins, by commas"
    return next(_forms(field.annotation))


def _forms(annotation: Any) -> Iterator[str]:  # Any: a type, or a form of typing
    if get_origin(annotation) is Annotated:
        yield from _forms(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for one in get_args(annotation):
            if one is not NoneType:
                yield from _forms(one)
    elif annotation is Path or (
        get_origin(annotation) is None and getattr(annotation, "__name__", "").endswith("Path")
    ):
        yield "path"
    else:
        yield _FORMS.get(annotation, "JSON")


def _default(field: FieldInfo) -> str:
    value: object = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, str):
        return f"`{value.replace(Path.cwd().as_uri(), 'file://<working folder>')}`"
    if isinstance(value, (bool, int, float)):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{list(cast('tuple[object, ...]', value))}`"
    return "none"
