// Node's own cluster with a rolling reload on SIGHUP: fork a new worker, wait until it listens, then let an old one leave.
// What happens is written to standard output, one JSON object a line.
'use strict';
const cluster = require('node:cluster');
const path = require('node:path');

const count = Number(process.argv[2]);
const leaveMs = Number(process.env.LEAVE_MS ?? 1000);
const KILL_MS = 5000;

cluster.setupPrimary({ exec: path.join(__dirname, 'app.js'), args: [] });
const say = (event) => console.log(JSON.stringify({ event }));
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const leaving = new Set();

function start() {
  const worker = cluster.fork();
  worker.once('exit', () => {
    // One that nobody told to leave is replaced at once.
    if (!leaving.delete(worker.id)) start();
  });
  return new Promise((resolve) => worker.once('listening', () => resolve(worker)));
}

async function leave(worker) {
  leaving.add(worker.id);
  const gone = new Promise((resolve) => worker.once('exit', resolve));
  if (worker.isDead()) return;
  const kill = setTimeout(() => worker.process.kill('SIGKILL'), leaveMs + KILL_MS);
  worker.send('leave', () => {});
  await wait(leaveMs);
  if (worker.isConnected()) worker.disconnect();
  await gone;
  clearTimeout(kill);
}

let reloading = false;
process.on('SIGHUP', async () => {
  if (reloading) return;
  reloading = true;
  for (const old of Object.values(cluster.workers)) {
    await start();
    await leave(old);
  }
  reloading = false;
  say('reloaded');
});
process.on('SIGTERM', () => {
  for (const worker of Object.values(cluster.workers)) {
    leaving.add(worker.id);
    worker.process.kill('SIGKILL');
  }
  process.exit(0);
});

Promise.all(Array.from({ length: count }, start)).then(() => say('ready'));
