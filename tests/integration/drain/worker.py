"""A worker of the drain tests. Every path answers with the slot and the pid, but /slow/MS after that time; /echo sends the
request's body back. SIGTERM kills it, as it does every program that says nothing about it, but with

  --drains    it closes its listener at once, finishes what it has accepted and ends
  --lingers   the same, but before it goes on accepting for a second, and answers what it accepts then with 503

While the file `pause` exists the first generation accepts nothing, and makes the file `paused` to say so.
"""
import http.server
import os
import signal
import socket
import sys
import threading
import time

NAME = f"python/{os.environ['ROUNDELAY_WORKER']} {os.getpid()}\n"
IS_FIRST = os.environ["ROUNDELAY_GENERATION"] == "1"
told = None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    is_late = False

    def answer(self, body):
        self.send_response(503 if self.is_late else 200)
        self.send_header("Content-Length", str(len(body)))
        if told:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.startswith("/slow/"):
            time.sleep(int(self.path.rpartition("/")[2]) / 1000)
        self.answer(NAME.encode())

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, *_):
        pass


class Late(Handler):
    is_late = True


def serve(connection, client, handler):
    try:
        handler(connection, client, None)
    except OSError:
        pass
    connection.close()


def terminate(*_):
    global told
    told = time.monotonic()
    if "--drains" in sys.argv:
        listener.close()


listener = socket.create_server((os.environ["HOST"], int(os.environ["PORT"])), backlog=128)
listener.settimeout(0.05)
if len(sys.argv) > 1:
    signal.signal(signal.SIGTERM, terminate)
while not told or ("--lingers" in sys.argv and time.monotonic() < told + 1):
    if IS_FIRST and os.path.exists("pause"):
        open("paused", "w").close()
        time.sleep(0.005)
        continue
    try:
        connection, client = listener.accept()
    except TimeoutError:
        continue
    except OSError:
        break
    connection.settimeout(None)
    threading.Thread(target=serve, args=(connection, client, Late if told else Handler)).start()
