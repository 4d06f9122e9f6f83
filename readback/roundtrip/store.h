// A run folder: everything that a run made, committed as it goes, readable by people and by SQL.
//
//   run.json      {"options": …, "digests": …, "about": …}; see Manifest
//   run.lock      held (flock) by the process that writes
//   images/originals/SAMPLE.png, images/i2t2i/SAMPLE-CANDIDATE.png, images/t2i2t/SAMPLE-CANDIDATE.png
//   run.sqlite    in WAL mode; a row is committed after the files that it names
//
//   samples       sample, position, image, reference_texts (JSON array), truth
//   candidates    direction, sample, candidate, text, token_ids (JSON array), log_probability, image, image_seed,
//                 flagged, truncated_tokens, text_seconds, image_seconds, finished
//                 I2T2I: `text` is the caption in the middle and `image` the reconstruction; T2I2T: the other way
//                 round. NULL where not made yet. The seconds and `finished` are the only columns that differ between
//                 two runs with equal options. image_seed is the unsigned 64-bit seed's decimal digits.
//   errors        sample, direction ('' = both), candidate (-1 = the whole sample), stage, message
//   metrics       metric, title, formula, direction ("lower" or "higher" is better), inputs, checkpoint
//   scores        direction, sample, candidate, metric, value (NULL: not defined for these inputs)
//   floors        direction, sample, candidate, metric, other, value: the candidate against the sample `other`
//   set_curves    direction, distance, rank, fid, samples, checkpoint: all pictures of a rank against the originals
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "readback/image/image.h"
#include "readback/roundtrip/plan.h"
#include "readback/score/metric.h"

namespace readback::roundtrip {

class Database;  // roundtrip/database.h

// run.json. Two runs are the same run when options are equal and so are the digests of what both name; `about` is for
// people. A later start adds the digests of checkpoints that its further metrics read.
struct Manifest {
  nlohmann::json options;  // identity(RunOptions)
  nlohmann::json digests;  // {"dataset": …, "captioner": …, "generator": …, "clip": …, and of metrics}
  nlohmann::json about;    // version, libtorch, machine, descriptions of models and data, batch size, created
};

struct SampleRow {
  std::string id;
  int64_t position = 0;
  std::string image;  // relative to the run folder; empty when the original could not be read
  std::vector<std::string> references;
  std::string truth;  // emoji scenes only
  // T2I2T's starting text: the first reference. Empty when there is none.
  std::string prompt() const { return references.empty() ? std::string() : references.front(); }
};

struct CandidateKey {
  Direction direction = Direction::kI2T2I;
  std::string sample;
  int64_t candidate = 0;
  auto operator<=>(const CandidateKey&) const = default;
};

struct CandidateRow {
  CandidateKey key;
  std::optional<std::string> text;
  std::vector<int64_t> token_ids;
  double log_probability = 0;
  std::optional<std::string> image;  // relative to the run folder
  uint64_t image_seed = 0;
  bool flagged = false;
  int64_t truncated_tokens = 0;
  double text_seconds = 0, image_seconds = 0;  // this candidate's share of its batch
  bool complete() const { return text && image; }
};

struct ErrorRow {
  std::string sample;
  std::optional<Direction> direction;  // none: the sample failed in both
  int64_t candidate = -1;              // -1: all of them
  std::string stage;                   // "original", "text", "image", "metric NAME"
  std::string message;
  auto operator<=>(const ErrorRow&) const = default;
};

struct ScoreRow {
  CandidateKey key;
  std::string metric;
  std::optional<double> value;
};

struct FloorRow {
  CandidateKey key;
  std::string metric;
  std::string other;  // the sample that the candidate was compared to
  std::optional<double> value;
};

// FID by rank of a distance; see roundtrip/set_curves.h.
struct SetCurve {
  Direction direction = Direction::kT2I2T;
  std::string distance, checkpoint;
  std::vector<double> ranks;  // [0] is rank 0
  int64_t samples = 0;        // pictures in each rank's set
};

class Store {
 public:
  // For writing: makes the folder, or goes on with the run in it. Errors: StoreError (another process is writing; the
  // folder holds something else; the run there had other options or models: lists which differ; disk full).
  static Store open_for_writing(const std::filesystem::path& folder, const Manifest& manifest);
  // For reading, also while a run goes on. Errors: StoreError.
  static Store open(const std::filesystem::path& folder);
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

  const std::filesystem::path& folder() const;
  const Manifest& manifest() const;
  int64_t num_candidates() const;             // options["num_candidates"]
  std::vector<Direction> directions() const;  // options["directions"]

  // Rows come sorted: samples by position, candidates by (position, direction as run, candidate).
  std::vector<SampleRow> samples() const;
  std::vector<CandidateRow> candidates(Direction direction) const;  // complete or not
  std::vector<CandidateRow> candidates(Direction direction, const std::string& sample) const;
  std::vector<ErrorRow> errors() const;
  std::vector<score::MetricInfo> metrics() const;  // in the order in which they were first measured
  std::vector<ScoreRow> scores(Direction direction, const std::string& metric) const;
  std::vector<FloorRow> floors(Direction direction, const std::string& metric) const;
  std::vector<SetCurve> set_curves() const;
  bool has_image(const std::string& relative) const;  // false also for a file that a power failure emptied
  // What the store wrote itself has no transparency: originals were laid on white when they were read.
  // Errors: DataError.
  image::Image load_image(const std::string& relative) const;

  // Writing. Each call is one transaction: all of its rows or none. Errors: StoreError.
  void add_samples(std::span<const SampleRow> samples);  // rows that are there already stay
  // Writes the original and gives its relative path.
  std::string set_original(const std::string& sample, const image::Image& image);
  void put_candidates(std::span<const CandidateRow> rows);  // inserts or replaces; also clears these rows' errors
  void put_error(const ErrorRow& error);
  void clear_errors();  // failed work is tried again when a run is started again
  void put_metric(const score::MetricInfo& metric);
  void put_scores(std::span<const ScoreRow> scores, std::span<const FloorRow> floors);
  void put_set_curve(const SetCurve& curve);  // in place of the one of its direction and distance
  // Writes a picture atomically and returns its relative path; commit it with put_candidates.
  std::string save_image(const CandidateKey& key, const image::Image& image);

 private:
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace readback::roundtrip
