"""The access table: everybody reads what is published, catalogue editors write."""

from shared.access import Access, Own, anyone, staff

EDITORS = staff("catalogue_editor", own=Own.NOBODYS)  # that nobody buys at a price they set is checked by payments

ACCESS: Access = {
    "list_courses": anyone(any_origin=True),
    "read_course": anyone(any_origin=True),
    "list_subjects": anyone(any_origin=True),
    "list_institutions": anyone(any_origin=True),
    "create_institution": EDITORS,
    "create_subject": EDITORS,
    "rename_subject": EDITORS,
    "create_course": EDITORS,
    "list_drafts": EDITORS,
    "read_draft": EDITORS,
    "revise_draft": EDITORS,
    "start_version": EDITORS,
    "list_versions": EDITORS,
    "read_version": EDITORS,
    "publish_course": EDITORS,
    "withdraw_course": EDITORS,
    "set_price": EDITORS,
    "list_prices": EDITORS,
    "create_programme": EDITORS,
    "publish_programme": EDITORS,
    "list_programmes": anyone(any_origin=True),
    "read_programme": anyone(any_origin=True),
}
