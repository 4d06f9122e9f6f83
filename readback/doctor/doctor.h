// What this machine has for readback, what it lacks, and what to do about it.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace readback::doctor {

enum class State {
  kGood,
  kGap,      // something is slower or cannot be computed
  kMissing,  // an essential: hardly anything works without it
};
const char* name(State state);  // "good", "gap", "missing"

struct Finding {
  std::string subject;  // "processor", "threads", "memory", "engine", "gpu", "assets", "cache", "hub", "meteor",
                        // "java", "spice"
  std::string found;    // a line for people
  nlohmann::ordered_json details;  // the same for programs: bytes, paths, versions
  State state = State::kGood;
  std::string next;  // what to do; empty when good
};

// Looks at everything, in the order of Finding::subject. Takes a second where there is a Java or a GPU. Throws nothing
// for what is missing.
std::vector<Finding> examine();

}  // namespace readback::doctor
