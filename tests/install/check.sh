#!/usr/bin/env bash
# check.sh PART SOURCE BUILD: the library as another project meets it. PART is
#   install        `cmake --install` of BUILD into BUILD/install, which the other parts use
#   examples       examples/, built against it and run
#   headers        every public header, alone
#   subdirectory   add_subdirectory(SOURCE)
set -euo pipefail
part=$1 source=$2 build=$3
prefix=$build/install work=$build/install-check/$part
fail() { echo "check.sh $part: $*" >&2; exit 1; }
same() { [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"; }

# another_project FOLDER: a copy of it, so that nothing is found beside it; configured and built.
another_project() {
  rm -rf "$work" && mkdir -p "$work"
  cp -r "$1" "$work/source"
  cmake -S "$work/source" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DCMAKE_CXX_COMPILER_LAUNCHER="$(command -v ccache || true)" "${@:2}"
}

case $part in
  install)
    rm -rf "$prefix"
    cmake --install "$build" --prefix "$prefix" >/dev/null
    [ ! -e "$prefix/include/readback/nn" ] || fail "private headers are installed"
    same "the program's version" "readback $(sed -n 's/.*READBACK_VERSION "\(.*\)"/\1/p' "$prefix/include/readback/version.h")" \
      "$("$prefix/bin/readback" --version)"
    ;;
  examples)
    another_project "$source/examples"
    cmake --build "$work/build" --parallel 2
    ! grep -E -- "(-I|-isystem) ?$source(/readback)?( |\")" "$work/build/compile_commands.json" ||
      fail "the source tree is on the include path"
    cd "$work"
    readback=$prefix/bin/readback
    "$readback" dataset export emoji-scenes --limit 2 --output scenes >/dev/null
    picture=scenes/test-00000.png
    same "caption_file" "$("$readback" caption "$picture" | cut -f2)" "$(build/caption_file "$picture")"

    printf 'a red fox on a hill\na boat near the shore\n' >candidates.txt
    printf 'a red fox stands on a hill\na small boat near the shore\n' >references.txt
    build/score_captions candidates.txt references.txt | tee scores.txt
    for metric in BLEU-1 BLEU-4 ROUGE-L CIDEr; do
      expected=$("$readback" score captions --predictions candidates.txt --references references.txt --format json \
        --metrics bleu,rouge,cider | sed -n "/\"$metric\"/,/value/s/.*\"value\": \([0-9.]*\).*/\1/p")
      [ -n "$expected" ] || fail "score captions prints no $metric"
      same "$metric" "$(printf '%.4f' "$expected")" "$(sed -n "s/^$metric\t\([0-9.]*\)\t.*/\1/p" scores.txt)"
    done

    "$readback" run emoji-scenes --limit 2 --num-candidates 2 --num-inference-steps 2 --output run >/dev/null
    build/read_run run | tee run.txt
    same "samples" "2" "$(sed -n 's/^samples\t//p' run.txt)"
    same "candidates" "4" "$(sed -n 's/^i2t2i candidates\t//p' run.txt)"
    grep -q '^t2i2t .*clip.*	' run.txt || fail "read_run prints no distance"
    # A captioner that fails on every third request and a generator without seeds, which the library does not know: killed
    # in the middle, and gone on with. Each failure costs its own candidates only.
    build/own_models own 20 >/dev/null 2>&1 & killed=$!
    while [ "$(ls own/images/i2t2i 2>/dev/null | wc -l)" -lt 6 ]; do
      kill -0 $killed 2>/dev/null || fail "own_models ended before it was killed"
      sleep 0.05
    done
    kill -9 $killed; wait $killed 2>/dev/null || true
    before=$(ls own/images/i2t2i | wc -l)
    status=0; build/own_models own >own.txt || status=$?
    cat own.txt
    same "own_models: status" 1 "$status"
    [ "$before" -lt 36 ] || fail "the run was over before it was killed"
    build/read_run own | tee own_run.txt
    failures=$(sed -n 's/^failures\t//p' own.txt)
    [ "$failures" -ge 1 ] || fail "no request failed"
    complete=$(($(sed -n 's/^i2t2i candidates\t//p' own_run.txt) + $(sed -n 's/^t2i2t candidates\t//p' own_run.txt)))
    [ "$complete" -ge 36 ] && [ "$complete" -lt 72 ] || fail "own_models: $complete complete candidates"
    grep -q 'honours no seeds' own/report.html || fail "the report does not say that seeds are not honoured"
    grep -q 'every third request fails' own/report.html || fail "the report does not show the failures"

    if [ -e "$prefix"/lib*/libreadback.a ] || compgen -G "$prefix/lib*/**/libreadback.a" >/dev/null; then
      ! readelf -d build/read_run | grep -E 'NEEDED.*(torch|c10)' || fail "reading a run's store links libtorch"
      readelf -d build/caption_file | grep -q 'NEEDED.*libtorch_cpu' || fail "caption_file does not link libtorch"
    fi
    ;;
  headers)
    another_project "$source/tests/install/headers"
    cmake --build "$work/build" --parallel 2 -- -k 0
    ;;
  subdirectory)
    another_project "$source/tests/install/subdirectory" -DREADBACK_SOURCE="$source"
    ninja -C "$work/build" -n host >/dev/null
    ;;
  *) fail "no such part" ;;
esac
