// A run folder: everything that a run made, committed as it goes, readable by people and by SQL.
//
//   run.json      what the run is; see roundtrip/manifest.h
//   run.lock      held (flock) by the process that writes
//   images/originals/SAMPLE.png, images/i2t2i/SAMPLE-CANDIDATE.png, images/t2i2t/SAMPLE-CANDIDATE.png
//   images/ceiling/SAMPLE.png     the original drawn anew without words, where that was asked for
//   run.sqlite    in WAL mode; a row is committed after the files that it names
//
//   samples       sample, position (0, 1, …), image, reference_texts (JSON array), truth, domain ('' = none)
//   candidates    direction, sample, candidate, text, token_ids (JSON array), log_probability, image, image_seed,
//                 flagged, truncated_tokens, text_seconds, image_seconds, finished
//                 I2T2I: `text` is the caption in the middle and `image` the reconstruction; T2I2T: the other way
//                 round. NULL where not made yet, and where a model does not say: token_ids and log_probability of a
//                 captioner, image_seed (the unsigned 64-bit seed's decimal digits) of a generator. The seconds and
//                 `finished` are the only columns that differ between two runs with equal options.
//   errors        sample, direction ('' = both), candidate (-1 = the whole sample), stage, message
//   metrics       metric, title, formula, direction ("lower" or "higher" is better), inputs, checkpoint
//   scores        direction, sample, candidate, metric, value (NULL: not defined for these inputs)
//   floors        direction, sample, candidate, metric, other, value: the candidate against the sample `other`
//   ceilings      sample, metric, value: the original's picture in images/ceiling against the original
//   set_curves    direction, distance, rank, fid, samples, checkpoint: all pictures of a rank against the originals
//
// PRAGMA user_version is the schema's: 1 had no set_curves, 2 had zeros and empty lists where 3 has NULL, 3 had no
// ceilings, 4 no domains. All can be read; 5 is written, and a run of 3 or 4 goes on as 5. Whatever a damaged folder
// holds, reading it gives rows or a StoreError that names the file, the column or key, and what was expected there.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "readback/image/image.h"
#include "readback/roundtrip/manifest.h"
#include "readback/score/metric.h"

namespace readback::roundtrip {

struct SampleRow {
  std::string id;
  int64_t position = 0;
  std::string image;  // relative to the run folder; empty when the original could not be read
  std::vector<std::string> references;
  std::string truth;   // emoji scenes only
  std::string domain;  // what results are grouped by, as "near-domain"; empty: none
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
  std::optional<std::vector<int64_t>> token_ids;  // none: not made yet, or the captioner does not say
  std::optional<double> log_probability;          // likewise
  std::optional<std::string> image;               // relative to the run folder
  std::optional<uint64_t> image_seed;             // none: not made yet, or the generator honours none
  bool flagged = false;                           // the safety checker blanked the picture
  int64_t truncated_tokens = 0;
  double text_seconds = 0, image_seconds = 0;  // this candidate's share of its batch
  bool complete() const { return text && image; }
};

struct ErrorRow {
  std::string sample;
  std::optional<Direction> direction;  // none: the sample failed in both
  int64_t candidate = -1;              // -1: all of them
  std::string stage;                   // "original", "text", "image", "ceiling", "metric NAME"
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

struct CeilingRow {
  std::string sample, metric;
  std::optional<double> value;
};

// FID by rank of a distance; see roundtrip/set_curves.h.
struct SetCurve {
  Direction direction = Direction::kT2I2T;
  std::string distance, checkpoint;
  std::vector<double> ranks;  // [0] is rank 0
  int64_t samples = 0;        // pictures in each rank's set
};

// The path of a sample's picture that was drawn without words, relative to the run folder.
std::string ceiling_file(const std::string& sample);

class Store {
 public:
  // For writing: makes the folder, or goes on with the run in it. `defaults`: of options that the run or the manifest
  // may lack; see check_same_run(). Errors: StoreError (another process is writing; the folder holds something else;
  // the run there is of another results version, or had other options or models: lists which differ; disk full;
  // damaged).
  static Store open_for_writing(const std::filesystem::path& folder, const Manifest& manifest,
                                const nlohmann::json& defaults = nlohmann::json::object());
  // For reading, also while a run goes on. Errors: StoreError.
  static Store open(const std::filesystem::path& folder);
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

  const std::filesystem::path& folder() const;
  const Manifest& manifest() const;
  // What could not be checked when it was opened, in sentences for people. They stay in about["notes"], too.
  const std::vector<std::string>& notes() const;
  int64_t num_candidates() const;                    // options["num_candidates"]
  const std::vector<Direction>& directions() const;  // options["directions"]
  uint64_t seed() const;                             // options["seed"]

  // Rows come sorted: samples by position, candidates by (position, candidate). Candidates' numbers are below
  // num_candidates(). Errors: StoreError.
  std::vector<SampleRow> samples() const;
  std::vector<CandidateRow> candidates(Direction direction) const;  // complete or not
  std::vector<CandidateRow> candidates(Direction direction, const std::string& sample) const;
  // Counts without reading rows.
  int64_t count_complete(Direction direction) const;
  int64_t count_truncated(Direction direction) const;  // candidates whose text did not fit the generator
  std::vector<CandidateKey> flagged(Direction direction) const;
  std::vector<ErrorRow> errors() const;
  std::vector<score::MetricInfo> metrics() const;  // in the order in which they were first measured
  // Without the values that a blanked picture spoils; see needs_picture() in roundtrip/role.h.
  std::vector<ScoreRow> scores(Direction direction, const std::string& metric) const;
  std::vector<FloorRow> floors(Direction direction, const std::string& metric) const;
  std::vector<CeilingRow> ceilings(const std::string& metric) const;  // in the samples' order
  std::vector<SetCurve> set_curves() const;
  bool has_image(const std::string& relative) const;  // false also for a file that a power failure emptied
  // What the store wrote itself has no transparency: originals were laid on white when they were read.
  // Errors: DataError, StoreError (outside the folder).
  image::Image load_image(const std::string& relative) const;

  // Writing. Each call is one transaction: all of its rows or none. Errors: StoreError.
  // Rows that are there already stay, but take their domain where they have none: runs before version 5 lack them.
  void add_samples(std::span<const SampleRow> samples);
  // Writes the original and gives its relative path.
  std::string set_original(const std::string& sample, const image::Image& image);
  // Inserts or replaces. What belonged to a row before goes: its errors, scores and floors, and its direction's set
  // curves. So put only what has changed.
  void put_candidates(std::span<const CandidateRow> rows);
  void put_error(const ErrorRow& error);
  void clear_errors();  // failed work is tried again when a run is started again
  void put_metric(const score::MetricInfo& metric);
  // A sample has one floor of a metric: a new one takes the place of an earlier candidate's.
  void put_scores(std::span<const ScoreRow> scores, std::span<const FloorRow> floors);
  void put_ceilings(std::span<const CeilingRow> rows);
  void put_set_curve(const SetCurve& curve);  // in place of the one of its direction and distance
  // Writes a picture atomically and returns its relative path; commit it with put_candidates.
  std::string save_image(const CandidateKey& key, const image::Image& image);
  void save_ceiling(const std::string& sample, const image::Image& image);  // likewise; what was measured of it goes

 private:
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace readback::roundtrip
