#!/bin/sh
# Puts what the tests marked `peer` need into FOLDER: install.sh FOLDER. Debian's packages are only
# unpacked there, never installed: no service starts and nothing outside FOLDER changes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"

fail() {
  echo "test-peers: $1" >&2
  exit 1
}

command -v node > /dev/null || fail "Node.js >= 20 is missing; install it with: apt-get install nodejs npm"
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' ||
  fail "Node.js >= 20 is needed, this is $(node --version)"
PATH="$PATH:$(echo /usr/lib/postgresql/*/bin | tr ' ' ':')"
command -v initdb > /dev/null || fail "PostgreSQL is missing; install it with: apt-get install postgresql"
command -v openssl > /dev/null || fail "openssl is missing; install it with: apt-get install openssl"

mkdir -p bluesky
cp "$here/bluesky/package.json" "$here/bluesky/.npmrc" "$here/bluesky/network.mjs" bluesky
if ! cmp -s "$here/bluesky/package-lock.json" bluesky/package-lock.json; then
  # better-sqlite3 compiles itself where its binary cannot be fetched: that takes a minute.
  cp "$here/bluesky/package-lock.json" bluesky
  (cd bluesky && npm ci --silent) || {
    rm bluesky/package-lock.json
    fail "npm could not install the Bluesky network; see what it says in $(pwd)/bluesky: npm ci"
  }
fi

mkdir -p caniemail
cp "$here/caniemail/package.json" "$here/caniemail/.npmrc" "$here/caniemail/check.mjs" caniemail
if ! cmp -s "$here/caniemail/package-lock.json" caniemail/package-lock.json; then
  cp "$here/caniemail/package-lock.json" caniemail
  (cd caniemail && npm ci --silent) || {
    rm caniemail/package-lock.json
    fail "npm could not install caniemail; see what it says in $(pwd)/caniemail: npm ci"
  }
fi

if [ ! -d debian ]; then
  command -v apt-get > /dev/null ||
    fail "no apt-get here; nginx, redis-server and opensmtpd are taken from Debian's packages"
  if [ "$(id -u)" = 0 ]; then apt-get update -qq; fi
  rm -rf packages unpacked
  mkdir packages unpacked
  (cd packages && apt-get download -qq -o APT::Sandbox::User= \
    nginx libpcre2-8-0 redis-server redis-tools libjemalloc2 liblzf1 \
    opensmtpd libevent-2.1-7 libdb5.3) ||
    fail "Debian's packages could not be fetched; refresh their list with: apt-get update"
  for package in packages/*.deb; do dpkg -x "$package" unpacked; done
  mv unpacked debian
fi
