"""Orders, their payment by bank transfer, and what is said of them."""


async def transfer(driver, order):
    """A transfer that was announced; the provider says nothing more of it by itself."""
    payment = (await driver.pay(await driver.open_session(order), method="bank_transfer"))["payment_id"]
    driver.sandbox.payment(payment)["plan"] = []
    return payment


async def order_anew(driver, course_id):
    async with driver.learner() as client:
        await client.put(f"/v1/basket/items/{course_id}")
        return await client.post("/v1/orders")


def said(answer) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]
