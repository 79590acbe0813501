"""The rules of enrolment: pure functions over facts; time is an argument."""
