"""What a learner has earned, and how anyone can check it."""
