"""The catalogue's reads: rows for editors and commands, ready-made JSON for the public."""

from catalogue.queries.listings import find_courses, find_page
from catalogue.queries.programmes import map_in_use, module_text, modules_of, present_map, published_programmes
from catalogue.queries.rows import (
    course_by_slug,
    course_ids_of_subject,
    draft_of,
    drafts,
    prices_of,
    renamed_subjects,
    text_of,
    units_of,
    version_of,
)

__all__ = [
    "course_by_slug",
    "course_ids_of_subject",
    "draft_of",
    "drafts",
    "find_courses",
    "find_page",
    "map_in_use",
    "module_text",
    "modules_of",
    "present_map",
    "prices_of",
    "published_programmes",
    "renamed_subjects",
    "text_of",
    "units_of",
    "version_of",
]
