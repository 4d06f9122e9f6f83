#include "fakes.h"

#include <algorithm>

#include "readback/base/files.h"
#include "readback/roundtrip/database.h"

namespace readback::roundtrip::fakes {

std::vector<std::string> contents(const std::filesystem::path& folder) {
  const std::pair<const char*, int> queries[] = {
      {"SELECT 'sample', sample, position, image, reference_texts, truth FROM samples ORDER BY 2", 6},
      {"SELECT 'candidate', direction, sample, candidate, text, token_ids, log_probability, image, image_seed, "
       "flagged, "
       "truncated_tokens FROM candidates ORDER BY 2, 3, 4",
       11},
      {"SELECT 'error', sample, direction, candidate, stage, message FROM errors ORDER BY 2, 3, 4, 5", 6},
      {"SELECT 'metric', metric, position, title, formula, direction, inputs, checkpoint FROM metrics ORDER BY 2", 8},
      {"SELECT 'score', direction, sample, candidate, metric, value FROM scores ORDER BY 2, 3, 4, 5", 6},
      {"SELECT 'floor', direction, sample, candidate, metric, other, value FROM floors ORDER BY 2, 3, 4, 5", 7}};
  std::vector<std::string> lines;
  Database database(folder / "run.sqlite", Database::Mode::kReadOnly);
  for (const auto& [sql, columns] : queries) {
    Statement row(database, sql);
    while (row.step()) {
      std::string line;
      for (int i = 0; i < columns; ++i) line += row.shown(i) + " | ";
      lines.push_back(line);
    }
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder / "images")) {
    if (entry.path().extension() != ".png") continue;
    const std::string relative = std::filesystem::relative(entry.path(), folder).string();
    lines.push_back("file " + relative + " " + std::to_string(fnv1a(read_file(entry.path()))));
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

}  // namespace readback::roundtrip::fakes
