// The game of telephone: a message is passed on and on through a captioner and a generator, and each round is measured
// against its start. In i2t2i the picture that came back is captioned again, in t2i2t the text that came back is drawn
// again.
//
//   telephone.json            what is left after each round; see telephone_summary.h
//   telephone.lock            held (flock) by the process that writes
//   i2t2i/round-01/           a run (roundtrip/store.h) of one candidate, from the data set on. A later round's run
//                             begins with what the round before made, picture and text: its own scores say how far
//                             that round went from the one before.
//   i2t2i/round-02.json       {"samples": […]}: which samples the round began with
//   i2t2i/drift-01.json       what was measured against the start; see telephone_drift.h
//   t2i2t/                    likewise
//
// A sample that failed in a round, or whose picture the safety checker blanked, is in no round that begins after it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/options.h"
#include "readback/base/ranks.h"
#include "readback/roundtrip/options.h"
#include "readback/roundtrip/store.h"

namespace readback::workflow {

// run: of every round, with one candidate and no ceiling; its seed is the first round's, the next round's is one
// higher, so that no noise comes again. Where a caption is not sampled it is searched by three beams, in both
// directions. More rounds in the same folder go on.
struct TelephoneOptions {
  int64_t rounds = 10;
  roundtrip::RunOptions run{.num_candidates = 1, .sampling = {}};

  static constexpr auto options() {
    using O = TelephoneOptions;
    return std::tuple(
        option(&O::rounds, "rounds", "How often the message is passed on", at_least(1), Scope::kExecution),
        nested(&O::run, "run"));
  }
};

struct TelephoneResult {
  std::filesystem::path folder;               // empty on other ranks than 0
  int64_t samples = 0;                        // of the data set
  std::vector<roundtrip::ErrorRow> failures;  // in all rounds of both directions; message begins with the round
  std::vector<std::string> notes;             // what people should know
};

// Plays in `folder`, or goes on there. Of several ranks rank 0 has the folder and the result; the others lend it their
// models. Errors: as run()'s; DataError also when no sample came back from a round.
TelephoneResult telephone(const TelephoneOptions& options, const std::filesystem::path& folder,
                          const Context& context = {}, const Ranks& ranks = {}, const std::string& command = {});

// The same with models of one's own, and a data set of one's own where one is given.
TelephoneResult telephone(const TelephoneOptions& options, caption::Captioner& captioner,
                          generate::Generator& generator, const std::filesystem::path& folder,
                          const Context& context = {}, const data::Dataset* dataset = nullptr,
                          const std::string& command = {});

}  // namespace readback::workflow
