// Node's own cluster as one would run it: N workers of an application, a dead one replaced at once, a rolling reload.
//
// node primary.js N FILE ARGUMENTS...
//
// Commands come on standard input, a line each: `reload`, `scale N`. Its end is the end of all. What happened goes to standard
// output, a JSON object a line: {"event":"ready"}, "reloaded", "scaled", "replaced", and "failed" for a command that was not
// carried out. Workers write to standard error.
'use strict';
const cluster = require('node:cluster');
const readline = require('node:readline');

// How long an old worker may finish what it has.
const KILL_MS = 5000;
// So many that end before anyone ever listened, and it gives up.
const HOPELESS = 3;

const count = Number(process.argv[2]);
const [file, ...args] = process.argv.slice(3);
cluster.setupPrimary({ exec: file, args, stdio: ['ignore', 2, 2, 'ipc'] });

const slots = new Map(); // number -> the worker that serves there
const renewing = new Set(); // numbers whose worker is being replaced
let failedStarts = 0;
let isReady = false;
let isStopping = false;
const say = (event) => process.stdout.write(`${JSON.stringify({ event })}\n`);

// Forks a worker; resolves when it listens, or with null if it ended before.
function start(slot) {
  const worker = cluster.fork({ NODE_APP_INSTANCE: slot });
  return new Promise((resolve) => {
    worker.once('listening', () => resolve(worker));
    worker.once('exit', () => {
      resolve(null);
      if (!isReady && ++failedStarts >= HOPELESS) abort(1);
      const isMissed = isReady && !isStopping && slots.get(slot) === worker && !renewing.has(slot);
      if (isMissed) occupy(slot).then((next) => next && say('replaced'));
    });
    // A newcomer stands for its slot only when it listens, unless nobody is there whom it replaces.
    if (!slots.has(slot) || slots.get(slot).isDead()) slots.set(slot, worker);
  });
}

async function occupy(slot) {
  const worker = await start(slot);
  if (worker) slots.set(slot, worker);
  return worker;
}

// Disconnected, it takes nothing new, ends idle connections and exits when what it has is done.
function leave(worker) {
  if (worker.isDead()) return Promise.resolve();
  const gone = new Promise((resolve) => worker.once('exit', resolve));
  const kill = setTimeout(() => worker.process.kill('SIGKILL'), KILL_MS);
  if (worker.isConnected()) worker.disconnect();
  return gone.then(() => clearTimeout(kill));
}

async function reload() {
  for (const slot of [...slots.keys()]) {
    const old = slots.get(slot);
    renewing.add(slot);
    const next = await start(slot);
    renewing.delete(slot);
    if (!next) {
      if (old.isDead()) occupy(slot);
      return say('failed');
    }
    slots.set(slot, next);
    await leave(old);
  }
  say('reloaded');
}

async function scale(wanted) {
  const missing = Array.from({ length: wanted }, (_, slot) => slot).filter((slot) => !slots.has(slot));
  const come = await Promise.all(missing.map(occupy));
  if (come.includes(null)) return say('failed');
  const surplus = [...slots.keys()].filter((slot) => slot >= wanted);
  await Promise.all(surplus.map((slot) => {
    const worker = slots.get(slot);
    slots.delete(slot);
    return leave(worker);
  }));
  say('scaled');
}

function abort(code) {
  for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGKILL');
  process.exit(code);
}

process.on('SIGTERM', () => {
  isStopping = true;
  const workers = Object.values(cluster.workers);
  for (const worker of workers) worker.process.kill('SIGTERM');
  const ends = workers.map((worker) => worker.isDead() || new Promise((resolve) => worker.once('exit', resolve)));
  Promise.all(ends).then(() => process.exit(0));
});

// One command after the other.
let commands = Promise.resolve();
readline.createInterface({ input: process.stdin })
  .on('line', (line) => {
    const [command, number] = line.split(' ');
    commands = commands.then(() => (command === 'scale' ? scale(Number(number)) : reload()));
  })
  .on('close', () => abort(0));

async function begin(slot) {
  while (!(await occupy(slot)));
}

Promise.all(Array.from({ length: count }, (_, slot) => begin(slot))).then(() => {
  isReady = true;
  say('ready');
});
