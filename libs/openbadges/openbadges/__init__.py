"""Open Badges 3.0 and Comprehensive Learner Records 2.0: sign, publish, bake and verify them."""
