"""Door 1: HTTP in and out."""

from enrolment.api import enrolments, learners, names, study

routers = [learners.router, names.router, enrolments.router, study.router]
