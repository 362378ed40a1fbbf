// The plainest Express app: it listens on the port that it is told, and knows nothing of who started it.
'use strict';

const express = require('express');

const app = express();

app.get('/', (request, response) => response.type('text').send(String(process.pid)));

app.get('/api/:n', (request, response) => {
  let sum = 0;
  for (let i = 0; i <= Number(request.params.n); i++) sum += i;
  response.type('text').send(String(sum));
});

// What arrives goes back.
app.post('/echo', (request, response) => request.pipe(response));

app.listen(Number(process.argv[2] ?? 3000), process.argv[3]);
