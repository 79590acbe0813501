import json

from gateway.edge.access_log import AccessLog, AccessLogEntry
from gateway.edge.routes import load


async def test_what_follows_a_secret_prefix_is_written_nowhere():
    lines: list[str] = []
    access_log = AccessLog(lines.append, release="test", secret_prefixes=load().secret_prefixes())
    for path, route in (
        (b"/shared/Zm9vYmFy", "/shared"),
        (b"/shared/Zm9vYmFy", "unrouted"),
        (b"/v1/shares", "/v1/shares"),
    ):
        access_log.record(AccessLogEntry(0.0, "GET", path, route, 200, 0.1, "r", "t", "anonymous"))
    access_log.flush()
    written = [json.loads(line) for line in "".join(lines).splitlines()]
    assert [line["path"] for line in written] == ["/shared", "unrouted", "/v1/shares"]
    assert "Zm9v" not in "".join(lines)
