#!/usr/bin/env bash
# Sets up .venv, then runs the linters, the type checker and every test.
# WORLDSIM_TEST_WORKERS says in how many processes (default: one a core, at most 8). Arguments go to
# pytest: bash scripts/test.sh tests/cli -k help
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh </dev/null || exit 1

# Pages are tested in a browser. Without the right to install one those tests are skipped, and say so.
if ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [[ $(id -u) == 0 ]]; then
  echo "test: installing Chromium for the tests of pages" >&2
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
    --no-install-recommends chromium; } </dev/null >/dev/null || true
fi

# One thread a process: the tests run in as many processes as there are cores. nproc would count
# OMP_NUM_THREADS, so it is asked first and without it.
workers=${WORLDSIM_TEST_WORKERS:-$(env -u OMP_NUM_THREADS nproc 2>/dev/null || echo 2)}
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
bin=.venv/bin
failed=()

step() {
  echo "== $*"
  "$@" </dev/null || failed+=("$1")
}

step $bin/ruff check .
step $bin/ruff format --check .
step $bin/mypy
step $bin/python -m pytest -n "$((workers > 8 ? 8 : workers))" --dist loadfile --durations 10 "$@"

if ((${#failed[@]})); then
  echo "FAILED: ${failed[*]}" >&2
  exit 1
fi
echo "all checks passed"
