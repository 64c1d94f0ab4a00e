// A backend that registers users and greets them through the outbox. Needs Node 18 and `npm install pg`.
//
// POST /register {"name": "ada"} writes the user and the notification in one transaction. There is no moment in which
// one of the two is there without the other: when this process dies after the commit, the popup comes anyway.

import { createServer } from "node:http";
import pg from "pg";

const {
  SHOP_DATABASE, // such as postgres://shop@127.0.0.1/shop
  PORT = "8000",
} = process.env;

const pool = new pg.Pool({ connectionString: SHOP_DATABASE });

/** The user, and the notification about it: both or neither. */
async function register(name) {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    await client.query("INSERT INTO customers (name) VALUES ($1)", [name]);
    const publish = "SELECT doorstep.publish(user_id => $1, kind => $2, payload => $3, ttl => $4) AS id";
    const popup = JSON.stringify({ text: `Welcome, ${name}!` });
    const { rows } = await client.query(publish, [`customer/${name}`, "welcome", popup, 300]);
    await client.query("COMMIT");
    return rows[0].id;
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
}

const server = createServer(async (request, response) => {
  response.setHeader("content-type", "application/json");
  try {
    let body = "";
    for await (const chunk of request) body += chunk;
    const { name } = JSON.parse(body);
    const notification = await register(name);
    response.statusCode = 201;
    response.end(JSON.stringify({ name, notification }));
  } catch (error) {
    const taken = error.code === "23505"; // unique_violation
    response.statusCode = taken ? 409 : 500;
    response.end(JSON.stringify({ error: taken ? "this name is taken" : String(error) }));
  }
});

server.listen(Number(PORT), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
