"""Commands of editors: each loads, decides, stores and publishes in the caller's transaction."""

from catalogue.commands.courses import (
    create_course,
    publish_course,
    revise_draft,
    set_price,
    start_version,
    withdraw_course,
)
from catalogue.commands.programmes import create_programme, publish_programme
from catalogue.commands.reference import create_institution, create_subject, rename_subject, renew_some_listings

__all__ = [
    "create_course",
    "create_institution",
    "create_programme",
    "create_subject",
    "publish_course",
    "publish_programme",
    "rename_subject",
    "renew_some_listings",
    "revise_draft",
    "set_price",
    "start_version",
    "withdraw_course",
]
