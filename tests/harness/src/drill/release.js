// One file that is every release of a Node application: the good one, and the broken ones. `release` beside it says which.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { pathToFileURL } = require('node:url');

const { file, release } = JSON.parse(fs.readFileSync(path.join(__dirname, 'release'), 'utf8'));

if (release === 'exits') {
  console.error('this release is broken');
  process.exit(3);
} else if (release === 'never-ready') {
  setInterval(() => {}, 1000);
} else {
  // As if Node had been started with that file: `require.main` and its arguments are as ever.
  process.argv[1] = file;
  try {
    require('node:module')._load(file, null, true);
  } catch (error) {
    if (error.code !== 'ERR_REQUIRE_ESM') throw error;
    import(pathToFileURL(file));
  }
}
