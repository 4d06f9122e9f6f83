#include "readback/roundtrip/schema.h"

#include <fmt/format.h>

#include "readback/base/error.h"

namespace readback::roundtrip {

namespace {

constexpr int64_t kVersion = 5;
constexpr const char* kTables = R"(
CREATE TABLE samples (
  sample TEXT PRIMARY KEY, position INTEGER NOT NULL, image TEXT, reference_texts TEXT NOT NULL, truth TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE candidates (
  direction TEXT NOT NULL, sample TEXT NOT NULL, candidate INTEGER NOT NULL,
  text TEXT, token_ids TEXT, log_probability REAL,
  image TEXT, image_seed TEXT, flagged INTEGER NOT NULL, truncated_tokens INTEGER NOT NULL,
  text_seconds REAL NOT NULL, image_seconds REAL NOT NULL, finished TEXT,
  PRIMARY KEY (direction, sample, candidate)
) WITHOUT ROWID;
CREATE INDEX flagged_candidates ON candidates (direction, sample, candidate) WHERE flagged <> 0;
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
// What version 4 has and 3 had not.
constexpr const char* kCeilings = R"(
CREATE TABLE ceilings (
  sample TEXT NOT NULL, metric TEXT NOT NULL, value REAL, PRIMARY KEY (metric, sample)
) WITHOUT ROWID;
)";
// What version 5 has and 4 had not.
constexpr const char* kDomains = "ALTER TABLE samples ADD COLUMN domain TEXT NOT NULL DEFAULT '';";

int64_t version_of(Database& database) {
  Statement version(database, "PRAGMA user_version");
  version.step();
  return version.integer(0);
}

}  // namespace

void prepare_schema(Database& database, const std::filesystem::path& file) {
  database.transaction([&] {
    const int64_t found = version_of(database);
    if (found == kVersion) return;
    if (found != 0 && found != 3 && found != 4) {
      throw StoreError(describe(file.string(), fmt::format("tables of version {}", kVersion), std::to_string(found),
                                "Another version of readback wrote them: choose another output folder"));
    }
    if (found == 0) database.execute(kTables);
    if (found < 4) database.execute(kCeilings);
    database.execute(kDomains);
    database.execute(fmt::format("PRAGMA user_version = {}", kVersion));
  });
}

int64_t readable_schema(Database& database, const std::filesystem::path& file) {
  const int64_t found = version_of(database);
  const std::string expected = fmt::format("tables of version 1 to {}", kVersion);
  if (found == 0) {
    throw StoreError(describe(file.string(), expected, "none",
                              "Wait for the run to begin; if none is going on, the file is damaged"));
  }
  if (found < 0 || found > kVersion) {
    throw StoreError(describe(file.string(), expected, std::to_string(found),
                              "A later version of readback wrote them: use that one"));
  }
  return found;
}

}  // namespace readback::roundtrip
