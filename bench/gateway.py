"""The gateway's hop, every duty on, against nginx as a plain proxy: one core each, the load on the other."""

from dataclasses import replace

import httpx

from bench.alone import alone, prepared
from bench.measuring import Bench, Limit, Result, alternate
from bench.programs import LOAD_CORE, SERVER_CORE, nginx, running, two_kilobytes, wrk
from embedded import ports
from embedded.services import Deployment
from shared.ids import new_id

PATH = "/v1/courses/applied-machine-learning"


async def measure(bench: Bench) -> list[Result]:
    first = ports.suggest(len(ports.NAMES) + 2)
    upstream, proxy = first + len(ports.NAMES), first + len(ports.NAMES) + 1
    seconds = 1 if bench.short else 5
    behind = nginx(
        bench.folder, "upstream", upstream, f"default_type application/json; return 200 '{two_kilobytes()}';"
    )
    plain = nginx(
        bench.folder,
        "proxy",
        proxy,
        "proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection '';",
    )
    configuration = bench.folder / "proxy" / "nginx.conf"
    configuration.write_text(configuration.read_text().replace("127.0.0.1:1;", f"127.0.0.1:{upstream};"))
    async with (
        prepared("gateway", bench.folder / "gateway", first) as deployment,
        running(behind, LOAD_CORE, bench.folder / "upstream.log", upstream),
        running(plain, SERVER_CORE, bench.folder / "proxy.log", proxy),
        alone("gateway", replace(deployment, ports=deployment.ports | {"catalogue": upstream})),
    ):
        token = await _token(deployment)
        person = {"Authorization": f"Bearer {token}"}
        rates = await alternate(
            bench.rounds,
            {
                "nginx": lambda: wrk(f"http://127.0.0.1:{proxy}{PATH}", seconds),
                "gateway": lambda: wrk(f"http://127.0.0.1:{deployment.ports['gateway']}{PATH}", seconds, person),
            },
        )
    return [
        Result(
            "gateway, all duties on",
            "req/s of nginx as a plain proxy",
            rates["gateway"] / rates["nginx"],
            Limit(0.11, 0.20, 0.28),
            f"{rates['gateway']:,.0f} of {rates['nginx']:,.0f}",
        )
    ]


async def _token(deployment: Deployment) -> str:
    """Somebody's, who opened an account and signed in."""
    person = {"email": "ada@example.org", "password": "a long pass phrase of mine"}
    async with httpx.AsyncClient(trust_env=False, base_url=deployment.url("gateway")) as client:
        opened = await client.post("/v1/accounts", json=person, headers={"Idempotency-Key": str(new_id())})
        opened.raise_for_status()
        answer = await client.post("/v1/sign-ins", json=person)
        answer.raise_for_status()
        return answer.json()["access_token"]
