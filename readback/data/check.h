// What is damaged in a data set, and where.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "readback/data/dataset.h"
#include "readback/data/problems.h"

namespace readback::data {

struct Finding {
  int64_t count = 0;
  std::vector<std::string> examples;  // the first ones, each with its place
};

struct CheckReport {
  std::string layout, description;  // description: empty where the data set could not be opened at all
  int64_t samples = 0, pictures = 0, captions = 0;
  std::map<Damage, Finding> errors, remarks;
};

// Reads all that the options choose, every picture too. What it keeps for a sample is 40 bytes, to find ids again.
// Errors: UsageError (SPEC, options); what is wrong with the data is in the report.
CheckReport check_dataset(const std::string& spec, const DatasetOptions& options, const Context& context = {});

}  // namespace readback::data
