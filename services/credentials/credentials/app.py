"""How the service is put together."""

from datetime import timedelta
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from credentials import api
from credentials.access import ACCESS
from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.adapters.fonts import Fonts
from credentials.adapters.page_cache import PageCache
from credentials.adapters.pages import Pages
from credentials.adapters.paper import Paper
from credentials.adapters.pictures import Pictures
from credentials.api import badge_errors
from credentials.api.cached_reads import CachedReads
from credentials.domain.regulations import longest_claim
from credentials.exchange import api as exchange_api
from credentials.exchange.adapters.shared_pages import SharedPages
from credentials.exchange.adapters.webhooks import WebhookClient
from credentials.exchange.domain.sharing import ShareSecrets
from credentials.exchange.domain.webhooks import LONGEST_WAIT
from credentials.exchange.queries.prior_learning import known_evidence, names_any_evidence
from credentials.handlers import inbox
from credentials.jobs import jobs
from credentials.settings import Settings
from openbadges.verification.outside import Outside
from openbadges.verification.verifier import Verifier
from shared import liveness
from shared.due_times import DueTime
from shared.process import Process
from shared.secret_box import SecretBox, derive_key
from shared.service import Service
from shared.storage import ObjectStorage, open_storage
from shared.uploads import UploadPolicy


def build(settings: Settings) -> Service:
    """Credits, awards, Open Badges, transcripts and their verification."""
    wrapping_key = settings.wrapping_key_bytes()
    credential_issuer = CredentialIssuer(settings.public_url, settings.awarding_body, SecretBox(wrapping_key))
    outside = Outside(
        settings.verification,
        loopback=settings.verification_reaches_loopback,
        user_agent="microcredentials-verifier",
    )
    verifier = Verifier(settings.verification, outside)
    fonts = Fonts(settings.font_folder)
    page_cache = PageCache(settings.verification_page_seconds)

    def wrap(process: Process, app: FastAPI) -> CachedReads:
        badge_errors.install(app)
        return CachedReads(app, page_cache, process.database, process.service.name)

    return Service(
        name="credentials",
        title="Credentials",
        description="What a learner has earned, what they may claim, and how anyone can check it.",
        settings=settings,
        versions=Path(__file__).parents[1] / "migrations" / "versions",
        routers=(*api.routers, *exchange_api.routers),
        webhooks=[exchange_api.messages_router],
        access=ACCESS,
        inbox=inbox,
        jobs=jobs,
        due_times=[
            DueTime("webhook_deliveries", "due_at", LONGEST_WAIT, "state = 'pending'"),
            DueTime("awards", "reserved_until", longest_claim(), "state = 'claimed'"),
        ],
        resources={
            ObjectStorage: open_storage(settings.evidence_url),
            UploadPolicy: UploadPolicy(
                store="evidence",
                named=known_evidence,
                names_any=names_any_evidence,
                longest=timedelta(seconds=settings.evidence_seconds),
                orphan_age=timedelta(hours=settings.evidence_orphan_hours),
                orphans_at_once=settings.evidence_orphans_at_once,
            ),
            WebhookClient: WebhookClient(loopback=settings.webhooks_reach_loopback),
            SharedPages: SharedPages(),
            SecretBox: SecretBox(derive_key(wrapping_key, "sealed secrets")),
            ShareSecrets: ShareSecrets(derive_key(wrapping_key, "share pins")),
            PageCache: page_cache,
            Verifier: verifier,
            CredentialIssuer: credential_issuer,
            Pages: Pages(),
            Pictures: Pictures(fonts),
            Paper: Paper(fonts),
        },
        wrap=wrap,
        also=lambda _: {"verifier": partial(verifier.run, liveness.rest)},
    )
