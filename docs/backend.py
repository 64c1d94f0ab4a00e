"""A backend with users of its own, which Doorstep pushes to. Needs Python 3.9 or later, and nothing else.

POST /login {"name": "ada"} signs a token for Doorstep's WebSocket, sends the user a notification - now,
while they have no socket yet - and answers with the token. The notification waits at the door.
"""

import base64
import hashlib
import hmac
import json
import os
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DOORSTEP = os.environ["DOORSTEP_URL"]  # such as http://127.0.0.1:3000
KEY = os.environ["DOORSTEP_KEY"]  # the first line of `doorstep key new shop`
SECRET = os.environ["TOKEN_SECRET"]  # the same as jwt.keys.shop.key over there


def token(user_id):
    """A JSON Web Token, HS256, valid for ten minutes. Any JWT library does the same."""

    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    header = {"alg": "HS256", "typ": "JWT", "kid": "shop"}
    claims = {"sub": user_id, "iss": "shop", "aud": "doorstep", "exp": int(time.time()) + 600}
    signed = b".".join(part(json.dumps(each).encode()) for each in (header, claims))
    return (signed + b"." + part(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest())).decode()


def notify(user_id, kind, payload):
    """One HTTP call. The answer says whether the notification was pushed or waits."""
    body = json.dumps({"user_id": user_id, "kind": kind, "payload": payload}).encode()
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    request = urllib.request.Request(f"{DOORSTEP}/v1/notifications", body, headers)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)["notifications"][0]["state"]


class Backend(BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        user_id = f"customer/{json.loads(self.rfile.read(length))['name']}"
        state = notify(user_id, "welcome.back", {"text": "Your basket is as you left it."})
        body = json.dumps({"user_id": user_id, "token": token(user_id), "notification": state}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Backend)
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
