"""The control API, for tests and replays: pay without a browser, set statuses, disturb callbacks, order failures.

POST /control/pay/{session_id}             {first_name?, last_name?, method?, amount?} -> the payment
POST /control/payments/{reference}/status  {status, at?, reason_code?}
POST /control/refunds/{refund_id}/status   {status}: after a final status only what may follow it
PUT  /control/callbacks                    {mode: deliver|drop|hold, copies, delay_seconds}
POST /control/callbacks/release            {newest_first}: send what was held
POST /control/failures                     {operation, times, seconds, takes_effect}: the next calls answer 504
GET  /control/sessions/{session_id}, /control/payments/{reference}
"""

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from embedded.provider.api import read, sandbox_of
from embedded.provider.shapes import CallbackMode, NextFailure


class _Pay(BaseModel):
    first_name: str | None = None
    last_name: str | None = None
    method: Literal["card", "bank_transfer"] = "card"
    amount: int | None = Field(default=None, ge=0, description="Another amount than was asked for")


class _Status(BaseModel):
    status: str = Field(min_length=1, max_length=40, description="Also a word that nobody knows yet")
    at: AwareDatetime | None = None
    reason_code: str = ""


class _RefundStatus(BaseModel):
    status: str = Field(min_length=1, max_length=40, description="Also a word that nobody knows yet")


class _Callbacks(BaseModel):
    mode: Literal["deliver", "drop", "hold"] = "deliver"
    copies: int = Field(default=1, ge=1, le=10)
    delay_seconds: float = Field(default=0, ge=0)


class _Release(BaseModel):
    newest_first: bool = False


class _Failure(BaseModel):
    operation: Literal["create_session", "read_payment", "create_refund"] = "create_session"
    times: int = Field(default=1, ge=1)
    seconds: float = Field(default=30, ge=0, description="How long the answer takes")
    takes_effect: bool = True
    status: int = Field(default=504, ge=400, le=599, description="The status of the answer")


async def pay(request: Request) -> JSONResponse:
    sandbox, body = sandbox_of(request), await read(request, _Pay)
    session = sandbox.session(request.path_params["id"])
    payment = sandbox.pay(
        session["id"],
        first_name=body["first_name"] or session["payor"]["first_name"],
        last_name=body["last_name"] or session["payor"]["last_name"],
        method=body["method"],
        amount=body["amount"],
    )
    return JSONResponse(payment, 201)


async def set_status(request: Request) -> JSONResponse:
    sandbox, body = sandbox_of(request), await read(request, _Status)
    payment = sandbox.payment(request.path_params["reference"])
    payment["plan"] = []  # from now on only the test sets its status
    at: datetime | None = body["at"]
    sandbox.set_status(payment, body["status"], at=at, reason_code=body["reason_code"])
    return JSONResponse(payment)


async def set_refund_status(request: Request) -> JSONResponse:
    sandbox, body = sandbox_of(request), await read(request, _RefundStatus)
    refund = sandbox.refund(request.path_params["id"])
    sandbox.move_refund(refund, body["status"])
    refund["plan"] = []
    sandbox.books.put("refund", refund["refund_id"], refund)
    return JSONResponse(refund)


async def disturb(request: Request) -> JSONResponse:
    body = await read(request, _Callbacks)
    sandbox_of(request).callbacks = CallbackMode(**body)
    return JSONResponse(body)


async def release(request: Request) -> JSONResponse:
    body = await read(request, _Release)
    return JSONResponse({"released": sandbox_of(request).release(newest_first=body["newest_first"])})


async def fail_next(request: Request) -> JSONResponse:
    body = await read(request, _Failure)
    sandbox_of(request).failures.append(NextFailure(**body))
    return JSONResponse(body, 201)


async def show_session(request: Request) -> JSONResponse:
    return JSONResponse(sandbox_of(request).session(request.path_params["id"]))


async def show_payment(request: Request) -> JSONResponse:
    return JSONResponse(sandbox_of(request).payment(request.path_params["reference"]))


routes = [
    Route("/control/pay/{id}", pay, methods=["POST"]),
    Route("/control/payments/{reference}/status", set_status, methods=["POST"]),
    Route("/control/payments/{reference}", show_payment),
    Route("/control/refunds/{id}/status", set_refund_status, methods=["POST"]),
    Route("/control/sessions/{id}", show_session),
    Route("/control/callbacks", disturb, methods=["PUT"]),
    Route("/control/callbacks/release", release, methods=["POST"]),
    Route("/control/failures", fail_next, methods=["POST"]),
]
