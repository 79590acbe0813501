"""Door 1: HTTP in and out."""

from enrolment.api import enrolments, learners, study

routers = [learners.router, enrolments.router, study.router]
