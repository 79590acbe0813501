// What a front end does with the types generated from openapi.json: find a course, register, buy.
// It compiles only while the document says what these calls need, and runs only while it says the truth.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Problem = components["schemas"]["Problem"];

const [address, email] = process.argv.slice(2);
if (address === undefined || email === undefined) throw new Error("buy <address> <email>");
const client = createClient<paths>({ baseUrl: address });
const key = () => ({ "Idempotency-Key": crypto.randomUUID() });

function accepted<T>(answer: { data?: T; error?: Problem; response: Response }): T {
  if (answer.data === undefined) throw new Error(`${answer.response.url}: ${answer.error?.code ?? answer.response.status}`);
  return answer.data;
}

const { items } = accepted(await client.GET("/v1/courses", { params: { query: { limit: 3 } } }));
const course = items.find((one) => one.price !== null);
if (course === undefined) throw new Error("nothing is on sale");
const credits: number = course.credits;

const password = "a long pass phrase of mine";
accepted(await client.POST("/v1/accounts", { params: { header: key() }, body: { email, password } }));
const { access_token } = accepted(await client.POST("/v1/sign-ins", { body: { email, password } }));
client.use({
  onRequest({ request }) {
    request.headers.set("Authorization", `Bearer ${access_token}`);
    return request;
  },
});

const declaration = accepted(await client.GET("/v1/declarations/current"));
const answers = Object.fromEntries(declaration.criteria.map(({ criterion }) => [criterion, true]));
accepted(
  await client.POST("/v1/learners", {
    params: { header: key() },
    body: {
      given_name: "Ada",
      family_name: "Lovelace",
      country: "GB",
      contact_email: email,
      declaration: { version: declaration.version, answers },
    },
  }),
);

const basket = accepted(
  await client.PUT("/v1/basket/items/{course_id}", { params: { path: { course_id: course.course_id } } }),
);

// Payments learns of the new learner a moment later: the refusal's code says so, and the client asks again.
async function placeOrder(): Promise<components["schemas"]["OrderView"]> {
  for (let tries = 0; ; tries++) {
    const answer = await client.POST("/v1/orders", { params: { header: key() } });
    if (answer.error?.code !== "registration_needed" || tries === 100) return accepted(answer);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const order = await placeOrder();
const checkout = accepted(
  await client.POST("/v1/orders/{order_id}/checkout", {
    params: { header: key(), path: { order_id: order.order_id } },
    body: { payer: { email, given_name: "Ada", family_name: "Lovelace" } },
  }),
);
console.log(
  JSON.stringify({ credits, basket: basket.totals, total: order.total, status: order.status, pay_url: checkout.pay_url }),
);
