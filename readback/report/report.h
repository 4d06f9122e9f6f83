// The page that a run ends in: what came back, how near, and what that says, in one file to show and to keep.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "readback/report/pictures.h"
#include "readback/roundtrip/curves.h"
#include "readback/roundtrip/store.h"

namespace readback::report {

// One round trip. Truth scores (of metrics that read the scene's truth) run from 0 to 1; 1 is entirely right.
struct Trip {
  int64_t candidate = 0;
  std::string text;
  Picture picture;
  double distance = 0;  // NaN when the run has no distance
  std::optional<double> text_truth, picture_truth;
  int64_t truncated_tokens = 0;
};

// Why a sample is shown.
enum class Reason { kAll, kTelling, kAgainst, kEven };

struct Exhibit {
  std::string sample;
  Reason reason = Reason::kAll;
  Picture original;
  std::vector<std::string> references;  // T2I2T begins with the first
  std::vector<Trip> trips;              // nearest first
  std::vector<Trip> blanked;            // by the safety checker, and so without a rank
};

// Over a run: how much of the scenes' content is right, by a metric that knows the truth.
struct Accuracy {
  score::MetricInfo metric;
  score::Interval entirely;               // share of candidates with a score of 1
  score::Interval score, floor, ceiling;  // as MetricSummary has them
};

// What a direction's samples of one domain say.
struct DomainResults {
  std::string name;
  int64_t samples = 0;
  std::vector<roundtrip::MetricSummary> summaries;
  std::vector<roundtrip::RankCurve> curves;  // in the order of the whole's
};

// One direction of the run, as the page tells it: what came out in the middle (there), and what came back at the end
// (back).
struct Way {
  roundtrip::Direction direction = roundtrip::Direction::kI2T2I;
  int64_t samples = 0;                        // with all candidates made, blanked ones too
  std::optional<score::MetricInfo> distance;  // that trips are ranked by
  std::optional<score::MetricInfo> quality;   // of what is in the middle: the truth's, or the first that there is
  std::optional<Accuracy> there, back;        // none without truth
  std::vector<roundtrip::MetricSummary> summaries;
  std::vector<roundtrip::RankCurve> curves;  // strongest correlation within samples first
  std::vector<DomainResults> domains;        // none where the run has none
  std::vector<Exhibit> exhibits;
};

struct ReportData {
  roundtrip::Manifest manifest;
  std::string folder;  // the run's, as the user named it
  int64_t samples = 0, candidates = 0;
  int64_t truncated_prompts = 0, flagged_images = 0;
  int64_t flagged_samples = 0;  // with a blanked picture, in either direction
  int64_t failed_samples = 0;
  std::vector<std::string> notes;  // about["notes"]: what a reader must know, such as seeds that are not honoured
  std::vector<Way> ways;
  std::vector<roundtrip::ErrorRow> errors;
};

struct ReportOptions {
  int64_t exhibits = 9;               // per direction
  int64_t picture_bytes = 4'000'000;  // all of them together, before base64
};

// Errors: StoreError, DataError.
ReportData gather(const roundtrip::Store& store, const ReportOptions& options = {});
// A whole HTML document that refers to nothing outside itself.
std::string render(const ReportData& data);
// gather, render, and the file written atomically. Errors: StoreError, DataError.
void write_report(const roundtrip::Store& store, const std::filesystem::path& file);

}  // namespace readback::report
