#!/bin/sh
# haproxy-demo.sh ROUNDELAY CONFIG: two demo workers at the ports that the configuration names, and haproxy before them.
for port in $(sed -n 's/.*server .*127.0.0.1:\([0-9]*\).*/\1/p' "$2"); do
    PORT=$port "$1" demo-worker &
done
exec haproxy -db -f "$2"
