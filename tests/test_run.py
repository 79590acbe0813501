"""`make run` as a newcomer meets it: a clean clone in a folder with a space and an accent, under a foreign locale."""

import http.server
import os
import re
import socket
import subprocess
import threading
import urllib.error
from pathlib import Path

import pytest

from embedded import people, ports

from .newcomer import accounts, call, clone_into, demo, environment, make_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone_into(tmp_path_factory.mktemp("a newcomer's dossier privé") / "the platform")


def test_a_newcomer_has_the_platform_up_stops_it_and_finds_everything_again(clone):
    port = ports.suggest(len(ports.NAMES))
    with make_run(clone, environment(port)) as start:
        printed = start.until_up()
        courses = call(port, "/v1/courses?limit=100")
        assert courses["total"] >= 30
        assert len(courses["facets"]["subjects"]) >= 8
        assert call(port, "/openapi.json")["openapi"].startswith("3.1")
        assert accounts(printed).keys() == people.ROLES.keys()
        # A process of its own parses it, which gets no Ctrl-C.
        assert call(port, "/v1/verifications", {"no": "credential"})["status"] != "valid"
        readable = [path for path in (clone / ".local").rglob("*") if path.lstat().st_mode & 0o077]
        assert not readable, "others can read what is private"
        start.ctrl_c()
    with pytest.raises(urllib.error.URLError):
        call(port, "/v1/courses")
    left = subprocess.run(["pgrep", "-f", str(clone)], capture_output=True, text=True, check=False)
    assert not left.stdout, "something still runs"

    with make_run(clone, environment(port)) as start:
        start.until_up()
        again = call(port, "/v1/courses?limit=100")
        assert {one["course_id"] for one in again["items"]} == {one["course_id"] for one in courses["items"]}
        start.ctrl_c()


def test_the_demo_finds_the_platform_that_runs_on_its_data_and_no_other(clone):
    port = ports.suggest(len(ports.NAMES))
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        at = f"http://127.0.0.1:{stranger.getsockname()[1]}"
        (clone / ".local").mkdir(exist_ok=True)
        (clone / ".local" / "running").write_text(at)  # as a kill leaves it; the port is another's by now
        assert "no platform runs on" in demo(clone, environment(port))
        stranger.settimeout(0)
        with pytest.raises(BlockingIOError):
            stranger.accept()
    with make_run(clone, environment(port)) as start:
        printed = start.until_up()
        assert "`make demo`" in printed
        assert "Ada Lovelace holds a PGCert" in demo(clone, environment(8000))
        with make_run(clone, environment(ports.suggest(len(ports.NAMES)))) as second:
            assert f"is running on {clone / '.local'} already, at http://127.0.0.1:{port}" in second.until_refused()
        start.ctrl_c()


def test_a_busy_port_is_named_with_the_variable_that_moves_it(clone):
    port = ports.suggest(len(ports.NAMES))
    with socket.create_server(("127.0.0.1", port + 4)), make_run(clone, environment(port)) as start:
        printed = start.until_refused()
    assert f"credentials needs port {port + 4}, which is busy" in printed
    assert "MC_PORT" in printed


@pytest.mark.parametrize("given", ["*", "null", "learn.example", "https://learn.example/path"])
def test_what_is_no_origin_is_named_in_one_line(clone, given):
    with make_run(clone, environment(ports.suggest(len(ports.NAMES)), MC_ORIGINS=given)) as start:
        printed = start.until_refused()
    assert f"{given!r} is none" in printed
    assert "Traceback" not in printed


def test_the_working_tree_stays_clean(clone):
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert not changed.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can open a folder to another")
def test_a_folder_of_another_user_is_refused_in_one_line(clone, tmp_path):
    os.chown(tmp_path, 4242, 4242)
    env = environment(ports.suggest(len(ports.NAMES)), MC_DATA=str(tmp_path))
    with make_run(clone, env) as start:
        assert f"{tmp_path} is not yours (it belongs to user 4242)" in start.until_refused()
    assert not [*tmp_path.iterdir()]


ASK = """
async ({platform, email, password, badge, paths}) => {
  const read = async (path, options) => {
    try {
      const answer = await fetch(path.startsWith("http") ? path : platform + path, options);
      return {status: answer.status, body: await answer.json(), id: answer.headers.get("x-request-id")};
    } catch (blocked) { return {status: 0}; }
  };
  const signedIn = await read("/v1/sign-ins", {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({email, password}),
  });
  const bearer = {headers: {Authorization: `Bearer ${signedIn.body?.access_token}`}};
  const credential = await read(badge);
  const list = await read(credential.body?.credentialStatus?.statusListCredential ?? "/nowhere");
  return {signedIn, basket: await read("/v1/basket", bearer), credential, list};
}
"""


@pytest.fixture
def page_of_another_origin():
    """The addresses of one empty page under two origins: this machine's own, and one nobody named."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>A front end</title>")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), Page) as server:  # noqa: S104 - two loopback addresses
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        yield f"http://localhost:{port}", f"http://127.0.0.2:{port}"
        server.shutdown()


async def test_a_page_of_another_origin_signs_in_reads_the_basket_and_fetches_a_badge(
    clone, browser, page_of_another_origin
):
    port = ports.suggest(len(ports.NAMES))
    own, stranger = page_of_another_origin

    async def ask(origin: str, printed: str, badge: str) -> dict:
        email, password = accounts(printed)["learner"]
        page = await browser.new_page()
        await page.goto(origin)
        body = {"platform": f"http://localhost:{port}", "email": email, "password": password, "badge": badge}
        answers = await page.evaluate(ASK, body)
        await page.close()
        return answers

    with make_run(clone, environment(port)) as start:
        printed = start.until_up()
        badge_id = re.findall(rf"http://localhost:{port}/verify/(\S+)", demo(clone, environment(port)))[-1]
        badge = f"http://localhost:{port}/credentials/{badge_id}"
        answers = await ask(own, printed, badge)
        assert {name: answer["status"] for name, answer in answers.items()} == {
            "signedIn": 201,
            "basket": 200,
            "credential": 200,
            "list": 200,
        }
        assert answers["basket"]["id"], "a header of ours that the page may read"
        assert "BitstringStatusListCredential" in answers["list"]["body"]["type"]
        public = await ask(stranger, printed, badge)
        assert {name: answer["status"] for name, answer in public.items()} == {
            "signedIn": 0,
            "basket": 0,
            "credential": 200,
            "list": 200,
        }, "nobody named it, and what is public is everybody's"
        start.ctrl_c()
    with make_run(clone, environment(port, MC_ORIGINS=f"https://learn.example, {stranger}")) as start:
        answers = await ask(stranger, start.until_up(), badge)
        assert answers["basket"]["status"] == 200
        start.ctrl_c()
