"""Who may do what in enrolment."""

from enrolment.domain.enrolments import OwnEnrolment, StudiesSameModule
from enrolment.domain.learners import OwnErasure
from enrolment.domain.particulars import OwnNameRequest
from shared.access import Access, Own, anyone, owner, staff

ACCESS: Access = {
    "read_current_declaration": anyone(),
    "register_learner": owner("learner"),
    "read_own_learner": owner("learner"),
    "update_own_learner": owner("learner"),
    "send_contact_code": owner("learner"),
    "confirm_contact_email": owner("learner"),
    "open_name_request": owner("learner"),
    "list_name_requests": owner("learner", staff=("registrar",)),
    "read_name_request": owner("learner", staff=("registrar",)),
    "add_name_evidence": owner("learner"),
    "read_name_evidence": owner("learner", staff=("registrar",)),
    "submit_name_request": owner("learner"),
    "withdraw_name_request": owner("learner"),
    "decide_name_request": staff("registrar", own=OwnNameRequest),
    "anonymise_learner": staff("registrar", own=OwnErasure),
    "list_enrolments": owner("learner", staff=("advisor",)),
    "read_enrolment": owner("learner", staff=("advisor",)),
    "withdraw_enrolment": owner("learner"),
    "reinstate_enrolment": staff("finance", own=OwnEnrolment),
    "list_units": owner("learner", staff=("advisor",)),
    "read_unit": owner("learner"),
    "record_progress": owner("learner"),
    "read_own_study_record": owner("learner"),
    "read_study_record": staff("advisor", own=StudiesSameModule),
    "compare_study_records": staff("operator", own=Own.SEEN),
}
