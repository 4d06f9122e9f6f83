// In what two stored sets of options differ, for those who refuse to go on with other ones.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace readback {

struct OptionDifference {
  std::string name;         // "sampling.top_p"; empty where only empty lists or objects differ
  std::string before, now;  // as JSON; "absent" where that side lacks it
};

// Of two objects of options (base/options_json.h), at any depth, in the order of names. `defaults` has options and the
// values that were in force before they existed: an option that one side lacks takes its value from there.
std::vector<OptionDifference> option_differences(nlohmann::json before, nlohmann::json now,
                                                 const nlohmann::json& defaults = nlohmann::json::object());

}  // namespace readback
