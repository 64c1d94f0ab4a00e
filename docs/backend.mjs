// A backend with users of its own, which Doorstep pushes to. Needs Node 18 or later, and nothing else.
//
// POST /login {"name": "ada"} signs a token for Doorstep's WebSocket, sends the user a notification - now,
// while they have no socket yet - and answers with the token. The notification waits at the door.

import { createHmac } from "node:crypto";
import { createServer } from "node:http";

const {
  DOORSTEP_URL, // such as http://127.0.0.1:3000
  DOORSTEP_KEY, // the first line of `doorstep key new shop`
  TOKEN_SECRET, // the same as jwt.keys.shop.key over there
  PORT = "8000",
} = process.env;

/** A JSON Web Token, HS256, good for ten minutes. Any JWT library does the same. */
function token(userId) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const header = { alg: "HS256", typ: "JWT", kid: "shop" };
  const exp = Math.floor(Date.now() / 1000) + 600;
  const signed = `${part(header)}.${part({ sub: userId, iss: "shop", aud: "doorstep", exp })}`;
  return `${signed}.${createHmac("sha256", TOKEN_SECRET).update(signed).digest("base64url")}`;
}

/** One HTTP call: what it is answered says whether the user has it or it waits. */
async function notify(user_id, kind, payload) {
  const answer = await fetch(`${DOORSTEP_URL}/v1/notifications`, {
    method: "POST",
    headers: { authorization: `Bearer ${DOORSTEP_KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ user_id, kind, payload }),
    signal: AbortSignal.timeout(5000),
  });
  if (!answer.ok) throw new Error(`doorstep answered ${answer.status}: ${await answer.text()}`);
  return (await answer.json()).notifications[0].state;
}

const server = createServer(async (request, response) => {
  try {
    let body = "";
    for await (const chunk of request) body += chunk;
    const userId = `customer/${JSON.parse(body).name}`;
    const state = await notify(userId, "welcome.back", { text: "Your basket is as you left it." });
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ user_id: userId, token: token(userId), notification: state }));
  } catch (error) {
    response.statusCode = 500;
    response.end(String(error));
  }
});

server.listen(Number(PORT), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
