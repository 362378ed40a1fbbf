// A small HTTP app for the checker, as one would write it for pm2, Node's cluster or roundelay: it says when it listens,
// and when it is told to leave it finishes what it has.
'use strict';
const http = require('node:http');
const { PORT = '3000', HOST = '127.0.0.1', LEAVE_MS = '1000' } = process.env;

const PATTERN = Buffer.from(Array.from({ length: 251 * 256 }, (_, i) => i % 251));
let leaving = false;

const server = http.createServer((request, response) => {
  // Only this makes a client that keeps its connection come back to another worker.
  if (leaving) response.setHeader('Connection', 'close');
  const [, route, argument] = request.url.split('?')[0].split('/');
  if (route === 'echo') {
    const length = request.headers['content-length'];
    if (length !== undefined) response.setHeader('Content-Length', length);
    request.pipe(response);
  } else if (route === 'blob') {
    blob(response, Number(argument));
  } else {
    response.end(`hello from app/${process.env.NODE_APP_INSTANCE ?? 0} (pid ${process.pid})\n`);
  }
});
// A client, not the server, decides when an idle connection ends; 5 s is the default.
server.keepAliveTimeout = 65_000;

function blob(response, left) {
  response.setHeader('Content-Length', left);
  const more = () => {
    while (left > 0) {
      const part = PATTERN.subarray(0, Math.min(left, PATTERN.length));
      left -= part.length;
      if (!response.write(part)) return response.once('drain', more);
    }
    response.end();
  };
  more();
}

// First say it to those who ask, then accept no more; close() also ends what is idle by then.
function leave() {
  if (leaving) return;
  leaving = true;
  setTimeout(() => server.close(() => process.exit(0)), Number(LEAVE_MS));
}

process.on('SIGINT', leave);
process.on('SIGTERM', leave);
process.on('message', (message) => message === 'leave' && leave());

const ready = () => process.send?.('ready');
if (PORT.startsWith('/')) server.listen(PORT, ready);
else server.listen(Number(PORT), HOST, ready);
