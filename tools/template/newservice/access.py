"""Who may do what here: one row an operation, or the service does not start."""

from shared.access import Access, Own, staff

ACCESS: Access = {
    "create_newservice_entry": staff("catalogue_editor", own=Own.NOBODYS),
}
