"""The generated documents, judged by tools that are not ours."""

import asyncio
import json
import secrets
import subprocess

import pytest

from embedded.documents import documents


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The documents as they would be written now."""
    folder = tmp_path_factory.mktemp("documents")
    for name, content in documents().items():
        (folder / name).write_text(content)
    return folder


@pytest.fixture(scope="module")
def client(node_tools, made):
    """tests/node/buy.ts, type-checked against types generated from openapi.json, and compiled.

    Without that option the generator takes every property with a default for one that must be sent.
    """
    run(
        node_tools, "npx", "openapi-typescript", made / "openapi.json", "--default-non-nullable=false", "-o", "api.d.ts"
    )
    run(node_tools, "npx", "tsc", "--project", ".")
    return node_tools / "made/buy.js"


def test_the_asyncapi_document_is_one_to_its_own_parser(node_tools, made):
    run(node_tools, "node", "asyncapi.mjs", made / "asyncapi.json")


def test_that_parser_would_say_if_it_were_none(node_tools, made, tmp_path):
    broken = json.loads((made / "asyncapi.json").read_text())
    next(iter(broken["operations"].values()))["channel"]["$ref"] = "#/channels/nowhere"
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    with pytest.raises(AssertionError, match="invalid-ref"):
        run(node_tools, "node", "asyncapi.mjs", tmp_path / "broken.json")


@pytest.mark.slow
async def test_a_typed_client_made_from_the_document_finds_a_course_registers_and_buys(client, embedded_platform):
    command = ["node", client, embedded_platform.url, f"{secrets.token_hex(4)}@example.org"]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    bought = json.loads(out)
    assert bought["basket"] == [bought["total"]]
    assert bought["status"] == "placed"
    assert bought["pay_url"].startswith("http")


def run(folder, *command):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
