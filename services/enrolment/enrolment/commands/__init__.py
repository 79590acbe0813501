"""The commands of enrolment: each loads, decides, stores and announces."""
