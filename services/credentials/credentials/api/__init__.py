"""The HTTP API: requests in, answers out."""

from fastapi import APIRouter

from credentials.api.awards import router as awards_router
from credentials.api.document_checks import router as document_checks_router
from credentials.api.documents import router as documents_router
from credentials.api.forecasts import router as forecasts_router
from credentials.api.holds import router as holds_router
from credentials.api.keys import router as keys_router
from credentials.api.pictures import router as pictures_router
from credentials.api.progress_charts import router as progress_charts_router
from credentials.api.public import router as public_router
from credentials.api.records import router as records_router
from credentials.api.reports import router as reports_router
from credentials.api.reviews import router as reviews_router
from credentials.api.verification import router as verification_router

routers: tuple[APIRouter, ...] = (
    records_router,
    awards_router,
    forecasts_router,
    progress_charts_router,
    reviews_router,
    holds_router,
    reports_router,
    documents_router,
    document_checks_router,
    pictures_router,  # before what has the same address but for the ending
    verification_router,
    keys_router,  # before the badges: its key set has an address among theirs
    public_router,
)
