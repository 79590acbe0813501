"""Who studies what: learners, enrolments, access, progress and the study record."""
