// run.json: what a run is, and with what it was made.
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "readback/roundtrip/direction.h"
#include "readback/roundtrip/results_version.h"

namespace readback::roundtrip {

// Two runs are the same run when options, device class and results version are equal, and so are the digests that both
// name. `about` is for people and never compared. A later start adds the digests of checkpoints that its further
// metrics read.
//
// On disk: {"format": 2, "results_version": …, "device": …, "options": …, "digests": …, "about": …}. Format 1 had
// neither results version (it counts as 1) nor device (its class is taken from about.device).
struct Manifest {
  nlohmann::json options;  // identity(RunOptions); "num_candidates", "directions" and "seed" are read here too
  nlohmann::json digests;  // {"dataset": "KIND:…", "captioner": …, "generator": …, "clip": …, and of metrics}
  nlohmann::json about;    // {"build": this_build(), "notes": [texts for the report], descriptions, machine, created}
  std::string device = "cpu";  // its class: "cpu" or "cuda"
  int64_t results_version = kResultsVersion;
};

// What the store itself needs to know of the options.
struct RunShape {
  int64_t num_candidates = 0;
  std::vector<Direction> directions;
  uint64_t seed = 0;
};

// {"readback": version, "libtorch": version, "compiler": name and version}, for `about`.
nlohmann::json this_build();

// Errors: StoreError (missing, damaged, of a later format).
Manifest read_manifest(const std::filesystem::path& folder);
// Bytes that are no UTF-8 are replaced. Errors: StoreError.
void write_manifest(const std::filesystem::path& folder, const Manifest& manifest);
// As it would come back from the disk.
Manifest normalized(const Manifest& manifest);

// Errors: StoreError that names `file` and the key that is missing, of another type or out of range.
RunShape shape_of(const Manifest& manifest, const std::filesystem::path& file);

// Whether `asked` may go on with the run `stored` in `folder`. `defaults` has options and the values that were in force
// before they existed: an option that one side lacks takes its value from there, at any depth. So a default that is
// given here must stay as it is for ever. An option that one side lacks and `defaults` does not know is a difference.
// Gives notes for people: which digests could not be compared, since they are of another kind (the part before ':').
// Errors: StoreError that names the results versions when these differ; else one that lists every option and digest in
// which the two differ.
std::vector<std::string> check_same_run(const std::filesystem::path& folder, const Manifest& stored,
                                        const Manifest& asked, const nlohmann::json& defaults);

}  // namespace readback::roundtrip
