#!/usr/bin/env bash
# The suites that compute, on a GPU: tools/device_check.sh [DEVICE], "cuda" unless given. Needs built tests, an NVIDIA
# driver and a torch of the version in tools/libtorch.txt with its CUDA libraries: LIBTORCH=DIR, the torch/ folder of an
# unpacked wheel, else python3's own torch. Where it can be built, `./dev test --device cuda` does the same.
#
# The tests may have been built elsewhere: build/release/bin and build/release/CMakeCache.txt are all that is read of
# build/. Ends within ten minutes; prints a line a suite and the failures; status 1 when a suite fails.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export READBACK_TEST_DEVICE=${1:-cuda} OMP_NUM_THREADS=4

LIBTORCH=${LIBTORCH:-$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))' 2>/dev/null)}
[ -e "$LIBTORCH/lib/libtorch_cuda.so" ] || { echo "LIBTORCH='$LIBTORCH' holds no lib/libtorch_cuda.so" >&2; exit 2; }
libraries=$LIBTORCH/lib
for folder in "$LIBTORCH"/../nvidia/*/lib; do [ -d "$folder" ] && libraries+=:$folder; done
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

# Tests find their goldens by the path that they were built at.
built_at=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' build/release/CMakeCache.txt)
[ -e "$built_at/tests/goldens" ] || { mkdir -p "$(dirname "$built_at")" && ln -sfn "$PWD" "$built_at"; }

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || true
logs=$(mktemp -d) status=0
for suite in base models caption generate score train; do
  SECONDS=0
  timeout 150 "build/release/bin/test_$suite" >"$logs/$suite" 2>&1
  code=$?
  printf '%-9s exit %-3d %3d s  %s passed, %s failed, %s skipped\n' "$suite" $code $SECONDS \
    "$(grep -c '^\[       OK \]' "$logs/$suite")" "$(grep -c '^\[  FAILED  \].*ms)$' "$logs/$suite")" \
    "$(grep -c '^\[  SKIPPED \].*ms)$' "$logs/$suite")"
  [ $code -eq 0 ] || status=1
done
grep -H -A6 -E 'Failure|error while loading' "$logs"/* | grep -v 'frame #' | sed "s|^$logs/||" | head -150
rm -rf "$logs"
exit $status
