"""Documents of services as the gateway merges them."""

import copy

from openapi_spec_validator import validate

from gateway.documents.openapi import merge
from gateway.edge.routes import OWN, Route, Routes

ROUTES = Routes(
    [
        Route("/v1/courses", "catalogue", ("GET", "POST")),
        Route("/v1/orders", "payments", ("GET",)),
        Route("/v1/accounts", OWN, ("GET",)),
    ]
)


def document(path, method="get", *, operation_id="list_things", schema=None, scopes=None):
    operation = {
        "operationId": operation_id,
        "responses": {
            "200": {
                "description": "OK",
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/Thing"},
                        "example": {"name": "a"},
                    }
                },
            }
        },
    }
    if scopes is not None:
        operation["security"] = [{"bearer": scopes}]
    thing = schema or {"type": "object", "properties": {"name": {"type": "string"}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "a", "version": "1"},
        "paths": {path: {method: operation}},
        "components": {
            "schemas": {"Thing": thing, "Box": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def merged(own, found, away=()):
    whole = merge(own, found, ROUTES, away=list(away), public_url="https://api.example", release="1.2")
    validate(copy.deepcopy(whole))
    return whole
