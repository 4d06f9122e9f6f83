// A folder of SPICE's programs in which a shell script stands in for Java.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <list>
#include <optional>
#include <string>
#include <vector>

#include "readback/base/files.h"
#include "readback/score/text/spice/install.h"

namespace readback::score {

// Gives a caption "n3" three matched tuples, one more of its own and two that it lacks, and a colour that its
// references lack; notes how many captions it was called with; and can be made to fail by words in a caption.
inline constexpr const char* kFakeJava = R"(#!/bin/sh
here=$(dirname "$0")
while [ $# -gt 0 ]; do
  case $1 in
    edu.anu.spice.SpiceScorer) input=$2; shift;;
    -out) output=$2; shift;;
  esac
  shift
done
grep -o '"image_id":' "$input" | wc -l >> "$here/calls"
echo "$JDK_JAVA_OPTIONS" > "$here/options"
if [ -e "$here/broken" ]; then echo 'Error: could not find libjvm.so' >&2; exit 1; fi
if grep -q poison "$input"; then
  echo 'Error: Could not score batched file input:' >&2
  echo 'java.lang.IllegalStateException: poison' >&2
  echo '	at edu.anu.spice.SpiceScorer.main(SpiceScorer.java:60)' >&2
  exit 1
fi
if grep -q sleepy "$input"; then exec sleep 60; fi
if grep -q crash "$input"; then kill -SEGV $$; fi
if grep -q heap "$input"; then echo 'Threads( StanfordCoreNLP ) java.lang.OutOfMemoryError: Java heap space' >&2; fi
if grep -q garbage "$input"; then echo '[{"image_id": 0, "scores"' > "$output"; exit 0; fi
if grep -q fewer "$input"; then echo '[]' > "$output"; exit 0; fi
if grep -q nothing "$input"; then exit 0; fi
zeros='{"tp": 0, "fp": 0, "fn": 0, "f": null}'
i=0
{
  printf '['
  for n in $(grep -o '"test":"[^"]*"' "$input" | sed 's/[^0-9]//g; s/^$/0/'); do
    [ $i -eq 0 ] || printf ','
    printf '{"image_id": %d, "scores": {"All": {"tp": %d, "fp": 1, "fn": 2}, "Relation": %s, "Attribute": %s' \
      $i $n "$zeros" "$zeros"
    printf ', "Object": {"tp": %d, "fp": 1, "fn": 0}, "Color": {"tp": 0, "fp": 1, "fn": 0}' $n
    printf ', "Cardinality": %s, "Size": %s}}' "$zeros" "$zeros"
    i=$((i+1))
  done
  printf ']'
} > "$output"
)";

// Sets a variable of the environment for as long as it lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    ::setenv(name, value.c_str(), 1);
  }
  Variable(const Variable&) = delete;
  ~Variable() { before_ ? ::setenv(name_, before_->c_str(), 1) : ::unsetenv(name_); }

 private:
  const char* name_;
  std::optional<std::string> before_;
};

// A folder of its own that is removed, to which READBACK_SPICE, JAVA_HOME and READBACK_CACHE point.
class SpiceFolder {
 public:
  SpiceFolder() {
    std::string name = testing::TempDir() + "readback_spice_XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    root = name;
    std::filesystem::create_directories(jars() / "lib");
    for (const SpiceJar& jar : spice_jars()) std::ofstream(jars() / jar.name) << "a jar";
    std::filesystem::create_directories(java().parent_path());
    std::ofstream(java()) << kFakeJava;
    std::filesystem::permissions(java(), std::filesystem::perms::owner_all);
    variables_.emplace_back("READBACK_SPICE", jars().string());
    variables_.emplace_back("JAVA_HOME", root.string());
    variables_.emplace_back("READBACK_CACHE", (root / "cache").string());
  }
  ~SpiceFolder() { std::filesystem::remove_all(root); }

  std::filesystem::path jars() const { return root / "jars"; }
  std::filesystem::path java() const { return root / "bin/java"; }
  // How many captions each start of Java got.
  std::vector<int> calls() const {
    std::vector<int> result;
    std::ifstream stream(root / "bin/calls");
    for (int count; stream >> count;) result.push_back(count);
    return result;
  }
  void forget() const {
    std::filesystem::remove(root / "bin/calls");
    std::filesystem::remove_all(root / "cache");
  }

  std::filesystem::path root;

 private:
  std::list<Variable> variables_;
};

}  // namespace readback::score
