"""Stored files leave by one door, which compares them with what was received."""

import re
from pathlib import Path
from typing import get_type_hints

from fastapi.routing import APIRoute

from embedded.services import NAMES, build, nowhere
from shared.web.files import ATTACHMENT, FileWork

ROOT = Path(__file__).parents[1]
DOWNLOADS = {"read_submission_file", "read_name_evidence", "read_recognition_file"}
"""Each has a test with damaged files (`shared.testing.stores`) in its service."""


def test_every_download_is_known_here():
    found = {
        route.operation_id
        for name in NAMES
        for router in build(name, nowhere()).routers
        for route in router.routes
        if isinstance(route, APIRoute)
        and (
            route.responses.get(200) == ATTACHMENT[200]
            or FileWork in get_type_hints(route.endpoint, include_extras=True).values()
        )
    }
    assert found == DOWNLOADS


def test_nobody_reads_a_stored_file_without_comparing_it():
    sources = [path for folder in ("services", "gateway", "libs") for path in (ROOT / folder).rglob("*.py")]
    reads = re.compile(r"\b(storage|work\.resource\(ObjectStorage\)|resources\[ObjectStorage\])\.open\(|obstore\.get")
    found = {path.name for path in sources if "tests" not in path.parts and reads.search(path.read_text("utf-8"))}
    assert found == {"stored_files.py", "storage.py", "stores.py"}
