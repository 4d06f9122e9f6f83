// A run folder in which run.json is any text, bytes of run.sqlite are changed, or a cell of a table is: everything in
// it can be read, or a StoreError.
#include <sqlite3.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/roundtrip/database.h"
#include "readback/roundtrip/store.h"

namespace {

namespace fs = std::filesystem;
using namespace readback;
using namespace readback::roundtrip;

struct Run {
  Run() {
    std::string name = "/dev/shm/readback-fuzz-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    folder = name;
    const Manifest manifest{
        {{"num_candidates", 2}, {"directions", {"i2t2i", "t2i2t"}}, {"seed", 0}}, {{"captioner", "c"}}, {}};
    {
      Store store = Store::open_for_writing(folder, manifest);
      const SampleRow samples[] = {{"a", 0, "", {"a dog"}, ""}, {"b", 1, "", {}, "{}"}};
      store.add_samples(samples);
      CandidateRow row{{Direction::kT2I2T, "a", 0}};
      row.text = "a cat";
      row.token_ids = {1, 2};
      row.image = "images/x.png";
      row.image_seed = UINT64_MAX;
      store.put_candidates(std::span(&row, 1));
      store.put_error({"b", Direction::kI2T2I, 1, "text", "no"});
      store.put_metric({"m", "M", "f", score::Direction::kHigherIsBetter, score::Inputs::kTexts, ""});
      const ScoreRow scores[] = {{row.key, "m", 0.5}};
      const FloorRow floors[] = {{row.key, "m", "b", 0.25}};
      store.put_scores(scores, floors);
      store.put_set_curve({Direction::kT2I2T, "m", "", {1, 2}, 2});
    }
    Database database(folder / "run.sqlite", Database::Mode::kReadWrite);
    database.execute("PRAGMA journal_mode = DELETE");  // one file
    json = read_file(folder / "run.json");
    sqlite = read_file(folder / "run.sqlite");
  }
  ~Run() { fs::remove_all(folder); }
  fs::path folder;
  std::string json, sqlite;
};

void read_everything(const fs::path& folder) {
  try {
    const Store store = Store::open(folder);
    store.num_candidates();
    store.directions();
    store.samples();
    store.errors();
    store.metrics();
    store.set_curves();
    for (const Direction direction : {Direction::kI2T2I, Direction::kT2I2T}) {
      store.candidates(direction);
      store.candidates(direction, "a");
      store.scores(direction, "m");
      store.floors(direction, "m");
    }
  } catch (const StoreError&) {
  }
}

// A record of three bytes: where and what.
std::string changed(std::string sqlite, std::string_view records) {
  for (; records.size() >= 3; records.remove_prefix(3)) {
    uint16_t where = 0;
    std::memcpy(&where, records.data(), 2);
    sqlite[where % sqlite.size()] = records[2];
  }
  return sqlite;
}

constexpr const char* kCells[] = {"samples.sample",
                                  "samples.position",
                                  "samples.image",
                                  "samples.reference_texts",
                                  "candidates.direction",
                                  "candidates.candidate",
                                  "candidates.text",
                                  "candidates.token_ids",
                                  "candidates.log_probability",
                                  "candidates.image_seed",
                                  "candidates.image",
                                  "errors.direction",
                                  "errors.candidate",
                                  "errors.stage",
                                  "metrics.direction",
                                  "metrics.inputs",
                                  "metrics.position",
                                  "scores.candidate",
                                  "scores.value",
                                  "floors.other",
                                  "floors.value",
                                  "set_curves.direction",
                                  "set_curves.rank",
                                  "set_curves.fid",
                                  "set_curves.samples"};

// The first byte: which cell; the second: as text, blob or number; the rest is the value.
void change_cell(const fs::path& path, std::string_view bytes) {
  if (bytes.size() < 2) return;
  const std::string cell = kCells[static_cast<uint8_t>(bytes[0]) % std::size(kCells)];
  const size_t dot = cell.find('.');
  const std::string sql = "UPDATE OR IGNORE " + cell.substr(0, dot) + " SET " + cell.substr(dot + 1) + " = ?";
  const std::string value(bytes.substr(2));
  sqlite3* database = nullptr;
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_open(path.c_str(), &database) != SQLITE_OK) std::abort();
  if (sqlite3_prepare_v2(database, sql.c_str(), -1, &statement, nullptr) != SQLITE_OK) std::abort();
  const auto length = static_cast<int>(value.size());
  switch (bytes[1] & 3) {
    case 0:
      sqlite3_bind_double(statement, 1, std::strtod(value.c_str(), nullptr));
      break;
    case 1:
      sqlite3_bind_blob(statement, 1, value.data(), length, SQLITE_TRANSIENT);
      break;
    default:
      sqlite3_bind_text(statement, 1, value.data(), length, SQLITE_TRANSIENT);
  }
  sqlite3_step(statement);
  sqlite3_finalize(statement);
  sqlite3_close(database);
}

}  // namespace

// The first byte says what the rest is.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Run run;
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto put = [](const char* name, const std::string& bytes) {
    const fs::path path = run.folder / name;
    std::FILE* file = std::fopen(path.c_str(), "wb");
    if (file == nullptr || std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size()) std::abort();
    std::fclose(file);
  };
  for (const char* leftover : {"run.sqlite-wal", "run.sqlite-shm", "run.sqlite-journal"})
    fs::remove(run.folder / leftover);
  put("run.json", data[0] % 3 == 0 ? std::string(rest) : run.json);
  put("run.sqlite", data[0] % 3 == 1 ? changed(run.sqlite, rest) : run.sqlite);
  if (data[0] % 3 == 2) change_cell(run.folder / "run.sqlite", rest);
  read_everything(run.folder);
  return 0;
}
