"""A master's log in JSON, read as it comes."""

import datetime
import json
import sys
import threading


class Log:
    """The master's log, as it comes."""

    def __init__(self, pipe):
        self.events, self.changed = [], threading.Condition()
        threading.Thread(target=self.read, args=(pipe,), daemon=True).start()

    def read(self, pipe):
        for line in pipe:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            with self.changed:
                self.events.append(event)
                self.changed.notify_all()

    def wait(self, what, after, **fields):
        """The time of the first event of that message and fields from the `after`th on, and its place."""

        def find():
            for i, event in enumerate(self.events[after:], after):
                if event["message"] == what and all(event.get(k) == v for k, v in fields.items()):
                    return i
            return None

        with self.changed:
            if not self.changed.wait_for(lambda: find() is not None, timeout=20):
                sys.exit(f"the master's log never said `{what}` {fields}")
            event = self.events[find()]
        return datetime.datetime.fromisoformat(event["timestamp"]).timestamp(), event
