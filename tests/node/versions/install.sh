#!/bin/sh
# Installs more versions of Node, about 500 MB, for `cargo test --test integration node::`. x86_64 only.
set -eu
cd "$(dirname "$0")"
exec npm ci --ignore-scripts
