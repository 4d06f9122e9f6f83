#include "readback/roundtrip/store.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <ctime>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/folder_lock.h"
#include "readback/image/codec.h"
#include "readback/roundtrip/database.h"
#include "readback/roundtrip/store_files.h"

namespace readback::roundtrip {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr int64_t kSchemaVersion = 2;
constexpr const char* kSchema = R"(
CREATE TABLE samples (
  sample TEXT PRIMARY KEY, position INTEGER NOT NULL, image TEXT, reference_texts TEXT NOT NULL, truth TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE candidates (
  direction TEXT NOT NULL, sample TEXT NOT NULL, candidate INTEGER NOT NULL,
  text TEXT, token_ids TEXT NOT NULL, log_probability REAL,
  image TEXT, image_seed TEXT NOT NULL, flagged INTEGER NOT NULL, truncated_tokens INTEGER NOT NULL,
  text_seconds REAL NOT NULL, image_seconds REAL NOT NULL, finished TEXT,
  PRIMARY KEY (direction, sample, candidate)
) WITHOUT ROWID;
CREATE TABLE errors (
  sample TEXT NOT NULL, direction TEXT NOT NULL, candidate INTEGER NOT NULL, stage TEXT NOT NULL, message TEXT NOT NULL,
  PRIMARY KEY (sample, direction, candidate, stage)
) WITHOUT ROWID;
CREATE TABLE metrics (
  metric TEXT PRIMARY KEY, position INTEGER NOT NULL, title TEXT NOT NULL, formula TEXT NOT NULL,
  direction TEXT NOT NULL, inputs TEXT NOT NULL, checkpoint TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE scores (
  direction TEXT NOT NULL, sample TEXT NOT NULL, candidate INTEGER NOT NULL, metric TEXT NOT NULL, value REAL,
  PRIMARY KEY (direction, metric, sample, candidate)
) WITHOUT ROWID;
CREATE TABLE floors (
  direction TEXT NOT NULL, sample TEXT NOT NULL, candidate INTEGER NOT NULL, metric TEXT NOT NULL, other TEXT NOT NULL,
  value REAL, PRIMARY KEY (direction, metric, sample, candidate)
) WITHOUT ROWID;
CREATE TABLE set_curves (
  direction TEXT NOT NULL, distance TEXT NOT NULL, rank INTEGER NOT NULL, fid REAL NOT NULL, samples INTEGER NOT NULL,
  checkpoint TEXT NOT NULL, PRIMARY KEY (direction, distance, rank)
) WITHOUT ROWID;
)";

score::Inputs parse_inputs(const std::string& text) {
  if (const auto inputs = score::parse_inputs(text)) return *inputs;
  throw StoreError(describe("run.sqlite", "inputs of a metric that this version knows", "\"" + text + "\""));
}

std::string now() {
  const std::time_t seconds = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

std::optional<std::string> optional_text(const Statement& row, int column) {
  if (row.is_null(column)) return std::nullopt;
  return row.text(column);
}

std::optional<double> optional_real(const Statement& row, int column) {
  if (row.is_null(column)) return std::nullopt;
  return row.real(column);
}

constexpr const char* kCandidateColumns =
    "SELECT c.direction, c.sample, c.candidate, c.text, c.token_ids, c.log_probability, c.image, c.image_seed, "
    "c.flagged, c.truncated_tokens, c.text_seconds, c.image_seconds FROM candidates c ";

CandidateRow read_candidate(const Statement& row) {
  CandidateRow result;
  result.key = {parse_direction(row.text(0)), row.text(1), row.integer(2)};
  result.text = optional_text(row, 3);
  result.token_ids = json::parse(row.text(4)).get<std::vector<int64_t>>();
  result.log_probability = row.real(5);
  result.image = optional_text(row, 6);
  result.image_seed = std::stoull(row.text(7));
  result.flagged = row.integer(8) != 0;
  result.truncated_tokens = row.integer(9);
  result.text_seconds = row.real(10);
  result.image_seconds = row.real(11);
  return result;
}

}  // namespace

struct Store::Impl {
  fs::path folder;
  Manifest manifest;
  std::unique_ptr<FolderLock> lock;  // only when writing
  std::unique_ptr<Database> database;
};

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;
Store::~Store() = default;

Store Store::open_for_writing(const fs::path& folder, const Manifest& manifest) {
  check_run_folder(folder);
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw StoreError(describe(folder.string(), "a folder that can be made", error.message()));
  auto impl = std::make_unique<Impl>();
  impl->folder = folder;
  impl->lock = std::make_unique<FolderLock>(folder / "run.lock");
  if (fs::exists(folder / "run.json")) {
    impl->manifest = read_manifest(folder);
    check_same_run(folder, impl->manifest, manifest);
    const json before = impl->manifest.digests;
    impl->manifest.digests.update(manifest.digests);
    if (impl->manifest.digests != before) write_file(folder / "run.json", to_json(impl->manifest).dump(2) + "\n");
  } else {
    impl->manifest = manifest;
    write_file(folder / "run.json", to_json(manifest).dump(2) + "\n");
  }
  impl->database = std::make_unique<Database>(folder / "run.sqlite", Database::Mode::kReadWrite);
  Database& database = *impl->database;
  database.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
  database.transaction([&] {
    Statement version(database, "PRAGMA user_version");
    version.step();
    const int64_t found = version.integer(0);
    if (found == kSchemaVersion) return;
    if (found != 0) {
      throw StoreError(describe((folder / "run.sqlite").string(), fmt::format("schema {}", kSchemaVersion),
                                std::to_string(found), "Another version of readback wrote it"));
    }
    database.execute(kSchema);
    database.execute(fmt::format("PRAGMA user_version = {}", kSchemaVersion));
  });
  for (const char* images : {"originals", "i2t2i", "t2i2t"}) fs::create_directories(folder / "images" / images, error);
  if (error) throw StoreError(describe(folder.string(), "a folder that can be written", error.message()));
  return Store(std::move(impl));
}

Store Store::open(const fs::path& folder) {
  auto impl = std::make_unique<Impl>();
  impl->folder = folder;
  impl->manifest = read_manifest(folder);
  impl->database = std::make_unique<Database>(folder / "run.sqlite", Database::Mode::kReadOnly);
  return Store(std::move(impl));
}

const fs::path& Store::folder() const { return impl_->folder; }
const Manifest& Store::manifest() const { return impl_->manifest; }
int64_t Store::num_candidates() const { return impl_->manifest.options.at("num_candidates").get<int64_t>(); }

std::vector<Direction> Store::directions() const {
  std::vector<Direction> result;
  for (const json& direction : impl_->manifest.options.at("directions")) {
    result.push_back(parse_direction(direction.get<std::string>()));
  }
  return result;
}

std::vector<SampleRow> Store::samples() const {
  std::vector<SampleRow> rows;
  Statement row(*impl_->database,
                "SELECT sample, position, image, reference_texts, truth FROM samples ORDER BY position");
  while (row.step()) {
    rows.push_back({row.text(0), row.integer(1), row.text(2), json::parse(row.text(3)).get<std::vector<std::string>>(),
                    row.text(4)});
  }
  return rows;
}

std::vector<CandidateRow> Store::candidates(Direction direction) const {
  std::vector<CandidateRow> rows;
  Statement row(*impl_->database, std::string(kCandidateColumns) +
                                      "JOIN samples s ON s.sample = c.sample WHERE c.direction = ? "
                                      "ORDER BY s.position, c.candidate");
  row.bind(name(direction));
  while (row.step()) rows.push_back(read_candidate(row));
  return rows;
}

std::vector<CandidateRow> Store::candidates(Direction direction, const std::string& sample) const {
  std::vector<CandidateRow> rows;
  Statement row(*impl_->database,
                std::string(kCandidateColumns) + "WHERE c.direction = ? AND c.sample = ? ORDER BY c.candidate");
  row.bind(name(direction), sample);
  while (row.step()) rows.push_back(read_candidate(row));
  return rows;
}

std::vector<ErrorRow> Store::errors() const {
  std::vector<ErrorRow> rows;
  Statement row(*impl_->database,
                "SELECT e.sample, e.direction, e.candidate, e.stage, e.message FROM errors e "
                "JOIN samples s ON s.sample = e.sample ORDER BY s.position, e.direction, e.candidate, e.stage");
  while (row.step()) {
    ErrorRow error{row.text(0), {}, row.integer(2), row.text(3), row.text(4)};
    if (!row.text(1).empty()) error.direction = parse_direction(row.text(1));
    rows.push_back(std::move(error));
  }
  return rows;
}

std::vector<score::MetricInfo> Store::metrics() const {
  std::vector<score::MetricInfo> rows;
  Statement row(*impl_->database,
                "SELECT metric, title, formula, direction, inputs, checkpoint FROM metrics ORDER BY position");
  while (row.step()) {
    rows.push_back({row.text(0), row.text(1), row.text(2),
                    row.text(3) == "lower" ? score::Direction::kLowerIsBetter : score::Direction::kHigherIsBetter,
                    parse_inputs(row.text(4)), row.text(5)});
  }
  return rows;
}

std::vector<ScoreRow> Store::scores(Direction direction, const std::string& metric) const {
  std::vector<ScoreRow> rows;
  Statement row(*impl_->database,
                "SELECT c.sample, c.candidate, c.value FROM scores c JOIN samples s ON s.sample = c.sample "
                "WHERE c.direction = ? AND c.metric = ? ORDER BY s.position, c.candidate");
  row.bind(name(direction), metric);
  while (row.step()) {
    rows.push_back({{direction, row.text(0), row.integer(1)}, metric, optional_real(row, 2)});
  }
  return rows;
}

std::vector<FloorRow> Store::floors(Direction direction, const std::string& metric) const {
  std::vector<FloorRow> rows;
  Statement row(*impl_->database,
                "SELECT c.sample, c.candidate, c.other, c.value FROM floors c JOIN samples s ON s.sample = c.sample "
                "WHERE c.direction = ? AND c.metric = ? ORDER BY s.position, c.candidate");
  row.bind(name(direction), metric);
  while (row.step()) {
    rows.push_back({{direction, row.text(0), row.integer(1)}, metric, row.text(2), optional_real(row, 3)});
  }
  return rows;
}

std::vector<SetCurve> Store::set_curves() const {
  std::vector<SetCurve> curves;
  Statement row(*impl_->database,
                "SELECT direction, distance, checkpoint, samples, rank, fid FROM set_curves "
                "ORDER BY direction, distance, rank");
  while (row.step()) {
    if (row.integer(4) == 0)
      curves.push_back({parse_direction(row.text(0)), row.text(1), row.text(2), {}, row.integer(3)});
    curves.back().ranks.push_back(row.real(5));
  }
  return curves;
}

bool Store::has_image(const std::string& relative) const {
  std::error_code error;
  const auto size = fs::file_size(impl_->folder / relative, error);
  return !error && size > 0;
}

image::Image Store::load_image(const std::string& relative) const {
  return image::load(impl_->folder / relative, image::Alpha::kOnWhite);
}

void Store::add_samples(std::span<const SampleRow> samples) {
  Database& database = *impl_->database;
  database.transaction([&] {
    Statement insert(database, "INSERT OR IGNORE INTO samples VALUES (?, ?, NULL, ?, ?)");
    for (const SampleRow& row : samples) {
      // Captions with bytes that are no UTF-8 must not end the run.
      const std::string references = json(row.references).dump(-1, ' ', false, json::error_handler_t::replace);
      insert.run(row.id, row.position, references, row.truth);
    }
  });
}

std::string Store::set_original(const std::string& sample, const image::Image& image) {
  const std::string relative = "images/originals/" + file_stem(sample) + ".png";
  write_without_sync(impl_->folder / relative, image::encode_png(image));
  Statement(*impl_->database, "UPDATE samples SET image = ? WHERE sample = ?").run(relative, sample);
  return relative;
}

std::string Store::save_image(const CandidateKey& key, const image::Image& image) {
  const std::string relative =
      fmt::format("images/{}/{}-{:02}.png", name(key.direction), file_stem(key.sample), key.candidate);
  write_without_sync(impl_->folder / relative, image::encode_png(image));
  return relative;
}

void Store::put_candidates(std::span<const CandidateRow> rows) {
  Database& database = *impl_->database;
  database.transaction([&] {
    Statement insert(database, "INSERT OR REPLACE INTO candidates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    Statement clear(database, "DELETE FROM errors WHERE sample = ? AND direction = ? AND candidate = ?");
    for (const CandidateRow& row : rows) {
      const char* direction = name(row.key.direction);
      const std::optional<std::string> finished = row.complete() ? std::optional(now()) : std::nullopt;
      const double log_probability = row.text ? row.log_probability : std::nan("");
      insert.run(direction, row.key.sample, row.key.candidate, row.text, json(row.token_ids).dump(), log_probability,
                 row.image, std::to_string(row.image_seed), row.flagged, row.truncated_tokens, row.text_seconds,
                 row.image_seconds, finished);
      clear.run(row.key.sample, direction, row.key.candidate);
    }
  });
}

void Store::put_error(const ErrorRow& error) {
  Statement(*impl_->database, "INSERT OR REPLACE INTO errors VALUES (?, ?, ?, ?, ?)")
      .run(error.sample, error.direction ? name(*error.direction) : "", error.candidate, error.stage, error.message);
}

void Store::clear_errors() { impl_->database->execute("DELETE FROM errors"); }

void Store::put_metric(const score::MetricInfo& metric) {
  Statement(*impl_->database, "INSERT OR IGNORE INTO metrics VALUES (?, (SELECT COUNT(*) FROM metrics), ?, ?, ?, ?, ?)")
      .run(metric.name, metric.title, metric.formula,
           metric.direction == score::Direction::kLowerIsBetter ? "lower" : "higher", score::inputs_name(metric.inputs),
           metric.checkpoint);
}

void Store::put_set_curve(const SetCurve& curve) {
  Database& database = *impl_->database;
  database.transaction([&] {
    Statement(database, "DELETE FROM set_curves WHERE direction = ? AND distance = ?")
        .run(name(curve.direction), curve.distance);
    Statement insert(database, "INSERT INTO set_curves VALUES (?, ?, ?, ?, ?, ?)");
    for (size_t rank = 0; rank < curve.ranks.size(); ++rank) {
      insert.run(name(curve.direction), curve.distance, static_cast<int64_t>(rank), curve.ranks[rank], curve.samples,
                 curve.checkpoint);
    }
  });
}

void Store::put_scores(std::span<const ScoreRow> scores, std::span<const FloorRow> floors) {
  Database& database = *impl_->database;
  database.transaction([&] {
    Statement score(database, "INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?)");
    for (const ScoreRow& row : scores) {
      score.run(name(row.key.direction), row.key.sample, row.key.candidate, row.metric, row.value);
    }
    Statement floor(database, "INSERT OR REPLACE INTO floors VALUES (?, ?, ?, ?, ?, ?)");
    for (const FloorRow& row : floors) {
      floor.run(name(row.key.direction), row.key.sample, row.key.candidate, row.metric, row.other, row.value);
    }
  });
}

}  // namespace readback::roundtrip
