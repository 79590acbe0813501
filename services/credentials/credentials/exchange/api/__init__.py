"""The HTTP API of what passes between us and others."""

from fastapi import APIRouter

from credentials.exchange.api.links import router as links_router
from credentials.exchange.api.messages import router as messages_router
from credentials.exchange.api.prior_learning import router as prior_learning_router
from credentials.exchange.api.shared_files import router as shared_files_router
from credentials.exchange.api.sharing import router as sharing_router
from credentials.exchange.api.transfers import router as transfers_router
from credentials.exchange.api.webhooks import router as webhooks_router

routers: tuple[APIRouter, ...] = (
    sharing_router,
    links_router,
    shared_files_router,
    webhooks_router,
    transfers_router,
    prior_learning_router,
)

__all__ = ["messages_router", "routers"]
