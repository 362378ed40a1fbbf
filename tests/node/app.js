// An ordinary Express app: it listens on $PORT and knows nothing else. `/api/:n` computes on Node's only
// thread, so one large n blocks this process, and only this one.
'use strict';

const express = require('express');

const worker = process.env.ROUNDELAY_WORKER ?? 'alone';
const app = express();
let requests = 0;

app.get('/', (request, response) => {
  requests += 1;
  response.type('text').send(`hello from express/${worker} (pid ${process.pid}), request ${requests}\n`);
});

app.get('/api/:n', (request, response) => {
  if (!/^\d+$/.test(request.params.n)) {
    response.status(400).type('text').send(`\`${request.params.n}\` is not a whole number\n`);
    return;
  }
  response.type('text').send(String(sum(Math.min(Number(request.params.n), 5_000_000_000))));
});

app.get('/health', (request, response) => response.type('text').send('ok\n'));

// 0 + 1 + ... + n, exact also beyond 2^53: whole blocks in numbers, their sums in a BigInt.
function sum(n) {
  let total = 0n;
  for (let start = 0; start <= n; start += 1_000_000) {
    const end = Math.min(start + 999_999, n);
    let block = 0;
    for (let i = start; i <= end; i++) block += i;
    total += BigInt(block);
  }
  return total;
}

const port = process.env.PORT ?? '3000';
const listening = () => console.log(`express/${worker} listening on ${port}`);
// `PORT` may be a path, which Node takes as it is. A number goes to loopback only.
const server = /^\d+$/.test(port)
  ? app.listen(Number(port), process.env.HOST ?? '127.0.0.1', listening)
  : app.listen(port, listening);

// A kept connection would keep the process: close the idle ones, finish the others.
process.once('SIGTERM', () => {
  server.close();
  server.closeIdleConnections();
});
