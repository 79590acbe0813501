"""What posts to partners reaches public addresses only, and waits for nobody."""

import datetime as dt
import ipaddress
import ssl
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from credentials.exchange.adapters.webhooks import WebhookClient
from credentials.exchange.domain.webhooks import WebhookAddressRefused

from .webhook_receivers import partner_server


@pytest.fixture
async def partner():
    async with partner_server() as partner:
        yield partner


REFUSED = [
    "http://example.org/hook",
    "https://user:pass@example.org/hook",
    "https://example.org:22/hook",
    "https://example.org/#x",
    "https:///hook",
    "https://example.org:99999/hook",
    "https://exam ple.org/",
    "https://127.0.0.1/hook",
    "https://169.254.169.254/latest/meta-data",
    "https://[::ffff:127.0.0.1]/",
    "https://[::1]/",
    "https://[fd00::1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://10.0.0.8/",
    "https://192.168.1.1/",
    "https://0/",
    "https://2130706433/",
    "https://localhost/",
    "https://no-such-host.invalid/",
]


@pytest.mark.parametrize("url", REFUSED)
async def test_inside_addresses_are_refused_when_named_and_when_sent_to(url) -> None:
    webhook_client = WebhookClient()
    with pytest.raises(WebhookAddressRefused):
        await webhook_client.check(url)
    answer = await webhook_client.post(url, {}, "{}")
    assert (answer.status, answer.taken) == (None, False)


async def test_a_name_that_turns_inward_after_it_was_looked_at_gains_nothing(partner) -> None:
    """DNS rebinding: public at the check, this machine at the connection."""
    answers = iter(["93.184.216.34", "127.0.0.1"])

    async def turn(host: str, port: int):
        return [ipaddress.ip_address(next(answers))]

    answer = await WebhookClient(resolve=turn).post(f"https://rebind.example:{8443}/", {}, "{}")
    assert (answer.taken, answer.error) == (False, "rebind.example is not a public address")
    assert partner.got == []


async def test_a_name_with_one_inside_address_among_public_ones_is_refused() -> None:
    async def both(host: str, port: int):
        return [ipaddress.ip_address("93.184.216.34"), ipaddress.ip_address("10.0.0.1")]

    with pytest.raises(WebhookAddressRefused):
        await WebhookClient(resolve=both).check("https://both.example/")


async def test_redirects_are_not_followed(partner) -> None:
    async with partner_server() as inside:
        partner.status, partner.extra = 302, f"Location: {inside.url}\r\n"
        answer = await WebhookClient(loopback=True).post(partner.url, {}, "{}")
        assert (answer.status, answer.error, inside.got) == (302, "answered 302", [])


async def test_an_answer_is_cut_off_and_cleaned(partner) -> None:
    partner.body = b"\x00\x07caf\xc3\xa9 \xff" + b"y" * 3_000_000
    answer = await WebhookClient(loopback=True).post(partner.url, {}, "{}")
    assert (answer.taken, len(answer.response)) == (True, 2048)
    assert answer.response.startswith("café")


async def test_a_slow_answer_counts_for_none(partner, monkeypatch) -> None:
    monkeypatch.setattr("credentials.exchange.adapters.webhooks._SECONDS", 0.2)
    partner.seconds = 2
    answer = await WebhookClient(loopback=True).post(partner.url, {}, "{}")
    assert (answer.status, answer.taken) == (None, False)


async def test_the_certificate_must_be_that_of_the_name(tmp_path) -> None:
    """The connection goes to the address that was looked at; TLS asks for the name all the same."""

    async def here(host: str, port: int):
        return [ipaddress.ip_address("127.0.0.1")]

    served, trusted = certificate(tmp_path, "hooks.example.edu")
    async with partner_server(served) as partner:
        webhook_client = WebhookClient(loopback=True, tls=trusted, resolve=here)
        right = await webhook_client.post(f"https://hooks.example.edu:{partner.port}/", {}, "{}")
        wrong = await webhook_client.post(f"https://other.example.edu:{partner.port}/", {}, "{}")
    assert (right.taken, wrong.taken, len(partner.got)) == (True, False, 1)
    assert partner.got[0][0]["host"].startswith("hooks.example.edu")


def certificate(folder, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(pem)
    return served, ssl.create_default_context(cafile=str(pem))
