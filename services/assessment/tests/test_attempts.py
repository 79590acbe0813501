from shared.events.assessment import AssessmentPassed, AttemptsExhausted, CreditAwarded


async def test_r1_after_a_ratified_fail_the_next_attempt_is_taken(driver):
    enrolment = await driver.enrol()
    await driver.attempt(enrolment, 49)
    await driver.window()
    assert (await driver.receipt(enrolment))["attempt_no"] == 2


async def test_r2_a_resit_is_recorded_with_the_cap_and_keeps_its_raw_mark(driver):
    enrolment = await driver.enrol()
    await driver.attempt(enrolment, 49)
    await driver.attempt(enrolment, 74)
    result = (await driver.read(enrolment))["attempts"][1]["result"]
    assert (result["mark"], result["raw_mark"], result["capped"], result["passed"]) == ("50", "74", True, True)
    [credit] = await driver.announced(CreditAwarded)
    assert (credit.mark, credit.credits, credit.attempt_no) == (50, 15, 2)
    [passed] = await driver.announced(AssessmentPassed)
    assert (passed.mark, passed.capped) == (50, True)


async def test_r3_after_three_fails_only_a_new_enrolment_gives_new_attempts(driver):
    course = driver.course()
    enrolment = await driver.enrol(course)
    for mark in (38, 44):
        await driver.attempt(enrolment, mark)
    window_id = await driver.attempt(enrolment, 49, ratified=False)
    assert await driver.announced(AttemptsExhausted) == []
    await driver.board(window_id)
    [exhausted] = await driver.announced(AttemptsExhausted)
    assert (exhausted.enrolment_id, exhausted.attempts_used) == (enrolment.enrolment_id, 3)
    await driver.window()
    driver.refused(await driver.submit(enrolment), 409, "attempts_exhausted")
    again = await driver.enrol(course, learner_id=enrolment.learner_id)
    assert (await driver.receipt(again))["attempt_no"] == 1
    assert await driver.announced(CreditAwarded) == []


async def test_r4_a_passed_course_is_not_taken_again(driver):
    enrolment = await driver.enrol()
    await driver.attempt(enrolment, 51)
    await driver.window()
    driver.refused(await driver.submit(enrolment), 409, "already_passed")
    assert (await driver.read(enrolment))["attempts_left"] == 0


async def test_r6_while_the_result_is_pending_nothing_further_is_taken(driver):
    enrolment = await driver.enrol()
    window_id = await driver.window()
    receipt = await driver.receipt(enrolment)
    await driver.close(window_id)
    await driver.window()
    driver.refused(await driver.submit(enrolment), 409, "pending_result")
    await driver.mark(receipt["submission_id"], 20)
    driver.refused(await driver.submit(enrolment), 409, "pending_result")
    await driver.release(window_id)
    assert (await driver.receipt(enrolment))["attempt_no"] == 2
