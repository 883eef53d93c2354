"""The server of a build hands nothing to other web pages: asked as browsers ask, and opened in Chromium."""

import http.client
import json
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from builds import make
from conftest import paqa

from flows import pages, server
from paqa.errors import PaqaError
from paqa.report.write import write

pytest.importorskip("prefect")

EVIL = "http://evil.example"


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    """A folder of builds, one of them with a report."""
    folder = tmp_path_factory.mktemp("builds")
    write(make(folder / "calls", clips=1))
    return folder


@pytest.fixture(scope="module")
def used(builds):
    """A real server over them, which may also be opened as tunnel.example."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PREFECT")]:
            patch.delenv(name)
        patch.setenv("PREFECT_SERVER_CORS_ALLOWED_ORIGINS", "*")  # as another installation may have it
        patch.setenv("PAQA_ALLOWED_HOSTS", "tunnel.example")
        server_ = server.Server(builds / ".paqa")
        server_.start().wait()
        yield server_
        server_.stop()


def ask(used, path, method="GET", body=None, **headers):
    """Status, headers and text of an answer; a header is named in Python's way, `Host` is the server's unless
    given.
    """
    connection = http.client.HTTPConnection("127.0.0.1", used.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    sent = {"Host": f"127.0.0.1:{used.port}", "Content-Length": str(len(body or ""))}
    for name, value in (sent | {name.replace("_", "-"): value for name, value in headers.items()}).items():
        connection.putheader(name, value)
    connection.endheaders((body or "").encode())
    answer = connection.getresponse()
    return (
        answer.status,
        {k.lower(): v for k, v in answer.getheaders()},
        answer.read().decode(errors="replace"),
    )


def report(used, builds):
    return pages.report_link(builds / "calls", used.folder, external=False)


@pytest.mark.parametrize("path", ["/", "/api/health", "/api/admin/version", "/ui-settings", "REPORT"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": f"{EVIL}:PORT"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "script"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "script"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
        {"Host": "evil.example"},
        {"Host": "evil.example:PORT"},
        {"Host": "127.0.0.1:1"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1.evil.example:PORT"},
        {"Host": ""},
    ],
    ids=str,
)
def test_another_page_gets_nothing(used, builds, path, headers):
    path = report(used, builds) + "data/index.js" if path == "REPORT" else path
    headers = {name: value.replace("PORT", str(used.port)) for name, value in headers.items()}
    status, answered, text = ask(used, path, **headers)
    assert 400 <= status < 500
    assert "access-control-allow-origin" not in answered
    assert text.startswith("paqa: ")


def test_a_preflight_is_refused(used):
    headers = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type"}
    status, answered, _ = ask(used, "/api/flow_runs/filter", "OPTIONS", Origin=EVIL, **headers)
    assert status == 403
    assert not [name for name in answered if name.startswith("access-control")]
    status, answered, _ = ask(
        used, "/api/flow_runs/filter", "OPTIONS", Access_Control_Request_Private_Network="true"
    )
    assert not [name for name in answered if name.startswith("access-control")]


def test_a_form_of_another_page_changes_nothing(used):
    status, _, _ = ask(used, "/api/variables/", "POST", '{"name": "x", "value": "y"}', Origin=EVIL)
    assert status == 403
    own = f"http://127.0.0.1:{used.port}"
    variables = json.loads(
        ask(used, "/api/variables/filter", "POST", "{}", Origin=own, Content_Type="application/json")[2]
    )
    assert variables == []


@pytest.mark.parametrize("headers", [{"Origin": EVIL}, {"Host": "evil.example"}], ids=str)
def test_a_web_socket_of_another_page_is_refused(used, headers):
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    upgrade |= {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec_WebSocket_Protocol": "prefect"}
    assert ask(used, "/api/events/out", **upgrade, **headers)[0] == 403
    with socket.create_connection(("127.0.0.1", used.port)) as own:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in upgrade.items()]
        head = ["GET /api/events/out HTTP/1.1", f"Host: 127.0.0.1:{used.port}", *lines]
        own.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        assert own.recv(12) == b"HTTP/1.1 101"


@pytest.mark.parametrize(
    "host", ["127.0.0.1:PORT", "localhost:PORT", "LOCALHOST:PORT", "[::1]:PORT", "tunnel.example"]
)
def test_the_servers_names_are_let_in(used, host):
    host = host.replace("PORT", str(used.port))
    status, answered, text = ask(used, "/ui-settings", Host=host, Origin=f"http://{host}")
    assert status == 200
    assert json.loads(text)["api_url"] == f"http://{host}/api"
    assert answered["cross-origin-resource-policy"] == "same-origin"
    assert answered["x-frame-options"] == "SAMEORIGIN"
    tunnelled = ask(used, "/ui-settings", Host=host, Origin=f"https://{host}", X_Forwarded_Proto="https")
    assert json.loads(tunnelled[2])["api_url"] == f"https://{host}/api"


def test_a_link_from_elsewhere_opens_the_pages(used):
    clicked = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    status, _, text = ask(used, "/", Accept="text/html", **clicked)
    assert status in (200, 307)
    assert not text.startswith("paqa: ")


def test_a_report_is_found_by_its_link_alone(used, builds):
    link = report(used, builds)
    assert ask(used, link)[0] == 200
    token = link.split("/")[2]
    assert len(token) >= 22
    for guess in (
        "/reports/calls/",
        f"/reports/{'x' * len(token)}/calls/",
        "/reports/",
        f"/reports/{token}/.paqa/",
    ):
        assert ask(used, guess)[0] == 404
    assert (used.folder / pages.TOKEN).stat().st_mode & 0o077 == 0
    assert pages.report_link(builds / "calls", used.folder, external=False) == link


@pytest.mark.parametrize("name", ["*", "http://tunnel.example", "a b", "tunnel.example/x", ""])
def test_names_that_are_no_hosts_are_refused(name):
    with pytest.raises(PaqaError, match="expected HOST or HOST:PORT"):
        pages.hosts(4200, [name])


def test_a_server_that_runs_does_not_learn_names(used, builds):
    done = paqa("ui", "--out", builds / "calls", "--allowed-host", "another.example", check=False)
    assert done.returncode == 2
    assert "another.example: the server that runs over" in done.stderr


ATTACK = """<!doctype html><script>
const address = "http://127.0.0.1:%d", got = [];
window.paqa = {take: (...data) => got.push("script")};
const read = async (path, options) => {
  try { got.push(await (await fetch(address + path, options)).text()) } catch {}
};
const load = path => new Promise(done => {
  const element = document.createElement("script");
  Object.assign(element, {src: address + path, onload: done, onerror: done});
  document.head.append(element);
});
(async () => {
  const headers = {"content-type": "application/json"};
  await read("/api/artifacts/filter", {method: "POST", headers, body: "{}"});
  await read("/ui-settings");
  await load("%s");
  document.title = "got " + JSON.stringify(got);
})();
</script>"""


def test_a_page_of_another_address_in_chromium(used, builds, browser):
    """Even one that knows the report's address; 127.0.0.1 at another port is the same site to a browser."""
    content = (ATTACK % (used.port, report(used, builds) + "data/index.js")).encode()

    class Evil(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_): ...

    evil = ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=evil.serve_forever, daemon=True).start()
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{evil.server_port}/")
    page.wait_for_function("document.title.startsWith('got')")
    assert page.title() == "got []"
    page.close()
    evil.shutdown()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_ui_and_a_report_in_chromium(used, builds, browser, host):
    import httpx

    link = {"key": "report", "type": "markdown", "data": f"[Open the report]({report(used, builds)})"}
    artifact = httpx.post(f"{used.url}/artifacts/", json=link).json()["id"]
    context = browser.new_context()
    context.set_default_timeout(15_000)
    page = context.new_page()
    wrong = []
    page.on("response", lambda answer: wrong.append(answer.url) if answer.status in (401, 403, 421) else None)
    page.goto(f"http://{host}:{used.port}/artifacts/artifact/{artifact}")
    with context.expect_page() as opened:
        page.get_by_text("Open the report").first.click()
    page = opened.value
    page.wait_for_url("**/reports/**")
    assert page.title().startswith("made")
    page.goto(f"http://{host}:{used.port}/dashboard")
    page.get_by_text("Run a task or flow").first.wait_for()
    assert wrong == []
    context.close()


def test_a_token_is_kept(tmp_path):
    first = pages.token(tmp_path)
    assert pages.token(tmp_path) == first
    assert first != pages.token(Path(tmp_path / "other"))
