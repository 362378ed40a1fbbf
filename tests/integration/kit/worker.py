"""A worker of the integration tests. Files in its working folder switch what it does:

  sick.SLOT   while it exists, /health of that slot answers 500
  bind        with --wait-bind: it binds its port when this file exists
  ready       with --notify: it says READY=1 when this file exists, STATUS=warming up before

Every path answers with the slot and the pid.
"""
import http.server
import os
import socket
import sys
import threading
import time

SLOT = os.environ["ROUNDELAY_WORKER"]


def wait_for(name):
    while not os.path.exists(name):
        time.sleep(0.005)


def say(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        is_sick = self.path == "/health" and os.path.exists("sick." + SLOT)
        body = f"python/{SLOT} {os.getpid()}\n".encode()
        self.send_response(500 if is_sick else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def tell():
    say("STATUS=warming up")
    wait_for("ready")
    say("STATUS=warm\nREADY=1")


if "--wait-bind" in sys.argv:
    wait_for("bind")
server = http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler)
if "--notify" in sys.argv:
    threading.Thread(target=tell, daemon=True).start()
server.serve_forever()
