#include "readback/roundtrip/store.h"

#include <fmt/format.h>

#include <ctime>

#include "readback/base/error.h"
#include "readback/image/codec.h"
#include "readback/roundtrip/schema.h"
#include "readback/roundtrip/store_files.h"
#include "readback/roundtrip/store_impl.h"

namespace readback::roundtrip {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

std::string now() {
  const std::time_t seconds = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

// Of a run that `asked` goes on with: the digests of what it adds, and what could not be checked.
Manifest continued(const Manifest& stored, const Manifest& asked, const std::vector<std::string>& notes) {
  Manifest result = stored;
  result.digests.update(asked.digests);
  json& kept = result.about["notes"];
  if (!kept.is_array()) kept = json::array();
  for (const std::string& note : notes) kept.push_back(note);
  if (kept.empty()) result.about.erase("notes");
  return result;
}

}  // namespace

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;
Store::~Store() = default;

Store Store::open_for_writing(const fs::path& folder, const Manifest& manifest, const json& defaults) {
  check_run_folder(folder);
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw StoreError(describe(folder.string(), "a folder that can be made", error.message()));
  auto impl = std::make_unique<Impl>();
  impl->folder = folder;
  impl->lock = std::make_unique<FolderLock>(folder / "run.lock");
  const Manifest asked = normalized(manifest);
  if (fs::exists(folder / "run.json", error)) {
    const Manifest stored = read_manifest(folder);
    impl->notes = check_same_run(folder, stored, asked, defaults);
    impl->manifest = continued(stored, asked, impl->notes);
    if (impl->manifest.digests != stored.digests || impl->manifest.about != stored.about) {
      write_manifest(folder, impl->manifest);
    }
  } else {
    impl->manifest = asked;
    write_manifest(folder, asked);
  }
  const fs::path tables = folder / "run.sqlite";
  impl->shape = shape_of(impl->manifest, folder / "run.json");
  impl->database = std::make_unique<Database>(tables, Database::Mode::kReadWrite);
  impl->database->execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
  prepare_schema(*impl->database, tables);
  impl->schema = readable_schema(*impl->database, tables);
  for (const char* images : {"originals", "i2t2i", "t2i2t", "ceiling"})
    fs::create_directories(folder / "images" / images, error);
  if (error) throw StoreError(describe(folder.string(), "a folder that can be written", error.message()));
  return Store(std::move(impl));
}

Store Store::open(const fs::path& folder) {
  auto impl = std::make_unique<Impl>();
  impl->folder = folder;
  impl->manifest = read_manifest(folder);
  impl->shape = shape_of(impl->manifest, folder / "run.json");
  impl->database = std::make_unique<Database>(folder / "run.sqlite", Database::Mode::kReadOnly);
  impl->schema = readable_schema(*impl->database, folder / "run.sqlite");
  return Store(std::move(impl));
}

void Store::add_samples(std::span<const SampleRow> samples) {
  Database& database = *impl_->database;
  database.transaction([&] {
    Statement insert(database,
                     "INSERT INTO samples VALUES (?, ?, NULL, ?, ?, ?) ON CONFLICT (sample) DO UPDATE "
                     "SET domain = excluded.domain WHERE domain = ''");
    for (const SampleRow& row : samples) {
      // Captions with bytes that are no UTF-8 must not end the run.
      const std::string references = json(row.references).dump(-1, ' ', false, json::error_handler_t::replace);
      insert.run(row.id, row.position, references, row.truth, row.domain);
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

std::string ceiling_file(const std::string& sample) { return "images/ceiling/" + file_stem(sample) + ".png"; }

void Store::save_ceiling(const std::string& sample, const image::Image& image) {
  Statement(*impl_->database, "DELETE FROM ceilings WHERE sample = ? AND metric IN (SELECT metric FROM metrics)")
      .run(sample);
  write_without_sync(impl_->folder / ceiling_file(sample), image::encode_png(image));
}

void Store::put_candidates(std::span<const CandidateRow> rows) {
  Database& database = *impl_->database;
  database.transaction([&] {
    Statement insert(database, "INSERT OR REPLACE INTO candidates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    std::vector<std::unique_ptr<Statement>> clear;
    for (const char* sql : {
             "DELETE FROM errors WHERE direction = ? AND sample = ? AND candidate = ?",
             // Naming the metrics lets SQLite look rows up instead of going through all of the direction.
             "DELETE FROM scores WHERE direction = ? AND sample = ? AND candidate = ? AND metric IN "
             "(SELECT metric FROM metrics)",
             "DELETE FROM floors WHERE direction = ? AND sample = ? AND candidate = ? AND metric IN "
             "(SELECT metric FROM metrics)",
         }) {
      clear.push_back(std::make_unique<Statement>(database, sql));
    }
    Statement clear_curves(database, "DELETE FROM set_curves WHERE direction = ?");
    for (const CandidateRow& row : rows) {
      const char* direction = name(row.key.direction);
      const std::optional<std::string> finished = row.complete() ? std::optional(now()) : std::nullopt;
      std::optional<std::string> token_ids, image_seed;
      if (row.text && row.token_ids) token_ids = json(*row.token_ids).dump();
      if (row.image && row.image_seed) image_seed = std::to_string(*row.image_seed);
      insert.run(direction, row.key.sample, row.key.candidate, row.text, token_ids,
                 row.text ? row.log_probability : std::nullopt, row.image, image_seed, row.flagged,
                 row.truncated_tokens, row.text_seconds, row.image_seconds, finished);
      for (const auto& statement : clear) statement->run(direction, row.key.sample, row.key.candidate);
      clear_curves.run(direction);
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

void Store::put_ceilings(std::span<const CeilingRow> rows) {
  Database& database = *impl_->database;
  database.transaction([&] {
    Statement insert(database, "INSERT OR REPLACE INTO ceilings VALUES (?, ?, ?)");
    for (const CeilingRow& row : rows) insert.run(row.sample, row.metric, row.value);
  });
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
    Statement clear(database, "DELETE FROM floors WHERE direction = ? AND metric = ? AND sample = ?");
    Statement floor(database, "INSERT INTO floors VALUES (?, ?, ?, ?, ?, ?)");
    for (const FloorRow& row : floors) {
      clear.run(name(row.key.direction), row.metric, row.key.sample);
      floor.run(name(row.key.direction), row.key.sample, row.key.candidate, row.metric, row.other, row.value);
    }
  });
}

}  // namespace readback::roundtrip
