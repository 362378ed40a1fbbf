"""One run: its options, its seed, its folder, and the rates at which its scenarios are played."""

import random
import sys

from . import load
from .load import Load, calibrate
from .master import Master


class Run:
    """What all scenarios of a run share."""

    def __init__(self, asked, folder):
        self.asked, self.folder = asked, folder
        self.random = random.Random(asked.seed)
        self.rates = {}
        # How many rows share the operations that are asked for in sum.
        self.rows_of_scenario = 1

    def count(self, name, full, quick):
        """How often a scenario does what it does."""
        given = getattr(self.asked, name, None)
        return given or (quick if self.asked.quick else full)

    def at_least(self, rate):
        """How long a load lasts at least, in seconds."""
        operations = self.count("operations", 200_000, 2_000) / self.rows_of_scenario
        return self.asked.seconds or operations / rate

    def load(self, port, kinds, rate, **more):
        return Load(self.folder, port, kinds, rate, self.random.getrandbits(32), **more)

    def rate(self):
        """The rate given, or 80 % of what four demo workers sustain."""
        return self.sustained("demo workers", lambda: Master(self.folder, workers=self.asked.workers))

    def sustained(self, name, start):
        """The rate given, or 80 % of what a target that `start` starts sustains, found once."""
        if self.asked.rate:
            return self.asked.rate
        if name not in self.rates:
            highest = 1000 if self.asked.quick else load.RATES[-1]
            with start() as target:
                seed = self.random.getrandbits(32)
                seconds = 1 if self.asked.quick else 3
                best = calibrate(self.folder, target.port, load.BUSY, seed, seconds, highest)
            self.rates[name] = best
            say(f"{name}: sustain {best} operations a second; 80 % of that is the rate")
        return self.rates[name] * load.SHARE


def say(text):
    print(text, file=sys.stderr, flush=True)
