"""A backend that registers users and greets them through the outbox. Needs Python 3.9 and psycopg 3.

POST /register {"name": "ada"} writes the user and the notification in one transaction. There is no moment in which
one of the two is there without the other: when this process dies after the commit, the popup comes anyway.
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
from psycopg.types.json import Jsonb

DATABASE = os.environ["SHOP_DATABASE"]  # such as postgres://shop@127.0.0.1/shop


def register(name):
    """The user, and the notification about it: both or neither."""
    with psycopg.connect(DATABASE) as connection:  # Commits at its end, rolls back on an error.
        connection.execute("INSERT INTO customers (name) VALUES (%s)", [name])
        publish = "SELECT doorstep.publish(user_id => %s, kind => %s, payload => %s, ttl => %s)"
        popup = Jsonb({"text": f"Welcome, {name}!"})
        return connection.execute(publish, [f"customer/{name}", "welcome", popup, 300]).fetchone()[0]


class Backend(BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        name = json.loads(self.rfile.read(length))["name"]
        try:
            status, answer = 201, {"name": name, "notification": str(register(name))}
        except psycopg.errors.UniqueViolation:
            status, answer = 409, {"error": "this name is taken"}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Backend)
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
