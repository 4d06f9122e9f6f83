#!/usr/bin/env bash
# check.sh PART SOURCE BUILD: the library as another project meets it. PART is
#   install        `cmake --install` of BUILD into BUILD/install, which the other parts use; nothing in it names the
#                  source tree
#   examples       examples/, built against it without the source tree, and run
#   headers        every public header, alone
#   subdirectory   add_subdirectory(SOURCE)
set -euo pipefail
part=$1 source=$2 build=$3
unset READBACK_ASSETS
prefix=$build/install work=$build/install-check/$part
fail() { echo "check.sh $part: $*" >&2; exit 1; }
same() { [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"; }

# in_tree ALLOWED…: the lines of standard input that name SOURCE or BUILD after the paths ALLOWED are taken out.
in_tree() {
  local allowed expressions=()
  for allowed in "$@"; do expressions+=(-e "s#$allowed##g"); done
  LC_ALL=C sed "${expressions[@]}" | grep -aF -e "$source" -e "$build"
}

# another_project FOLDER: a copy of it, so that nothing is found beside it; configured and built.
another_project() {
  rm -rf "$work" && mkdir -p "$work"
  cp -r "$1" "$work/source"
  cmake -S "$work/source" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_CXX_COMPILER_LAUNCHER="$(command -v ccache || true)" "${@:2}"
}

case $part in
  install)
    rm -rf "$prefix"
    cmake --install "$build" --prefix "$prefix" >/dev/null
    [ ! -e "$prefix/include/readback/nn" ] || fail "private headers are installed"
    same "the program's version" "readback $(sed -n 's/.*READBACK_VERSION "\(.*\)"/\1/p' "$prefix/include/readback/version.h")" \
      "$("$prefix/bin/readback" --version)"
    # ./dev setup unpacks libtorch into .deps/; the run path and readbackConfig.cmake say so. All else may be moved away.
    # Debug information may name sources.
    rm -rf "$work" && mkdir -p "$work/bin"
    find "$prefix" -type f -print0 | while IFS= read -r -d '' file; do
      strip --strip-debug -o "$work/stripped" "$file" 2>/dev/null || cp "$file" "$work/stripped"
      ! in_tree "$source/\\.deps/" <"$work/stripped" >/dev/null || fail "$file names the source or the build tree"
    done
    library=$(find "$prefix" -name libreadback.so)
    if [ -n "$library" ]; then  # it shows our namespaces alone, but for the folders without public headers
      nm -DC --defined-only "$library" | cut -d' ' -f3- >"$work/symbols"
      grep -q '^readback::workflow::run(' "$work/symbols" || fail "the shared library hides workflow::run"
      ! grep -v 'readback::' "$work/symbols" || fail "the shared library shows names of others"
      ! grep -E '^readback::(nn|text|train)::' "$work/symbols" || fail "the shared library shows private folders"
    fi
    ln -s "$prefix/lib"* "$work"
    cp "$prefix/bin/readback" "$work/bin"
    export_scenes=("$work/bin/readback" dataset export emoji-scenes --limit 1 --output "$work/scenes")
    ! "${export_scenes[@]}" >"$work/log" 2>&1 || fail "the program finds assets that do not lie beside it"
    grep -q "none in $work/share/readback" "$work/log" || fail "$(cat "$work/log")"
    ln -s "$prefix/share" "$work" && "${export_scenes[@]}" >/dev/null
    ;;
  examples)
    another_project "$source/examples"
    cmake --build "$work/build" --parallel 2
    # What the compiler and the linker are told, and what they read.
    { ninja -C "$work/build" -t commands; ninja -C "$work/build" -t deps; } >"$work/inputs"
    ! in_tree "$prefix/" "$work" "$source/\\.deps/" <"$work/inputs" || fail "the examples are built with the source tree"
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
