#include "runs.h"

#include <unistd.h>

#include <fstream>

#include "readback/report/report.h"
#include "readback/roundtrip/curves.h"
#include "readback/roundtrip/database.h"
#include "tests/source_dir.h"

namespace readback::roundtrip::runs {

namespace fs = std::filesystem;

Folder::Folder() {
  std::string name = (fs::temp_directory_path() / "readback-reading-XXXXXX").string();
  if (!::mkdtemp(name.data())) throw StoreError("no temporary folder");
  path_ = name;
}

Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void copy_format_1(const fs::path& folder) {
  fs::copy(tests::source_dir() / "tests/goldens/roundtrip/format-1", folder,
           fs::copy_options::recursive | fs::copy_options::overwrite_existing);
}

Manifest manifest() {
  return {{{"num_candidates", 2}, {"directions", {"i2t2i", "t2i2t"}}, {"seed", 3}, {"sampling", {{"top_p", 0.9}}}},
          {{"dataset", "xxh3:d"}, {"captioner", "xxh3:c"}},
          {{"dataset", "two greys"}, {"command", "readback run"}, {"build", this_build()}}};
}

void make_run(const fs::path& folder) {
  Store store = Store::open_for_writing(folder, manifest());
  const score::MetricInfo metrics[] = {
      {"picture", "Picture", "f", score::Direction::kLowerIsBetter, score::Inputs::kImages, "repo"},
      {"words", "Words", "f", score::Direction::kHigherIsBetter, score::Inputs::kReferences, ""}};
  for (const score::MetricInfo& metric : metrics) store.put_metric(metric);
  for (int s = 0; s < 2; ++s) {
    const SampleRow sample{"s" + std::to_string(s), s, "", {"one", "two"}, "{}"};
    store.add_samples({&sample, 1});
    store.set_original(sample.id, image::Image(4, 4));
    for (const Direction direction : {Direction::kI2T2I, Direction::kT2I2T}) {
      for (int64_t c = 0; c < 2; ++c) {
        CandidateRow row{.key = {direction, sample.id, c}, .text = "three"};
        row.token_ids = {1, 2};
        row.log_probability = -1;
        row.image_seed = 7;
        row.image = store.save_image(row.key, image::Image(4, 4));
        store.put_candidates({&row, 1});
        const ScoreRow scores[] = {{row.key, "picture", 0.5 + static_cast<double>(c)},
                                   {row.key, "words", 0.25 * static_cast<double>(s)}};
        const FloorRow floor{row.key, "picture", "s0", 2.0};
        store.put_scores(scores, {&floor, 1});
      }
    }
  }
  const std::vector<CeilingRow> ceilings = {{"s0", "picture", 0.25}, {"s1", "picture", 0.75}};
  store.put_ceilings(ceilings);
  store.put_set_curve({Direction::kT2I2T, "words", "repo", {1.5, 2.5}, 2});
  store.put_error({"s1", Direction::kT2I2T, 1, "text", "it broke"});
}

void execute(const fs::path& folder, const std::string& sql) {
  Database(folder / "run.sqlite", Database::Mode::kReadWrite).execute("PRAGMA synchronous = OFF; " + sql);
}

void write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string read_all(const fs::path& folder) {
  const Store store = Store::open(folder);
  for (const SampleRow& sample : store.samples()) {
    for (const Direction direction : store.directions()) store.candidates(direction, sample.id);
  }
  for (const Direction direction : store.directions()) {
    for (const CandidateRow& row : store.candidates(direction)) {
      if (row.image) store.has_image(*row.image);
    }
    store.count_complete(direction);
  }
  store.seed();
  to_json(store, summarize(store), rank_curves(store)).dump();
  return report::render(report::gather(store));
}

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const StoreError& error) {
    return error.what();
  }
  return "";
}

}  // namespace readback::roundtrip::runs
