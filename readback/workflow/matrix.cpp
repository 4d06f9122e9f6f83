#include "readback/workflow/matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/roundtrip/curves.h"
#include "readback/score/statistics/two_way.h"

namespace readback::workflow {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using roundtrip::CandidateRow;
using roundtrip::Direction;
using roundtrip::Store;

namespace {

void expect_distinct(const char* what, const std::vector<std::string>& models) {
  if (models.empty()) throw UsageError(describe(what, "at least one", "none"));
  std::set<std::string> seen;
  for (const std::string& model : models) {
    if (!seen.insert(model).second) throw UsageError(describe(what, "each once", "\"" + model + "\" twice"));
  }
}

// Puts what `source` has into `store` where that lacks it: the first half of each round trip.
void lend(const Store& source, Direction direction, Store& store) {
  std::set<roundtrip::CandidateKey> known;
  for (const CandidateRow& row : store.candidates(direction)) known.insert(row.key);
  std::vector<CandidateRow> lent;
  for (const CandidateRow& row : source.candidates(direction)) {
    if (known.contains(row.key)) continue;
    CandidateRow half{.key = row.key};
    if (direction == Direction::kI2T2I) {
      if (!row.text) continue;
      half.text = row.text;
      half.token_ids = row.token_ids;
      half.log_probability = row.log_probability;
      half.text_seconds = row.text_seconds;
    } else {
      if (!row.image || !source.has_image(*row.image)) continue;
      half.image = store.save_image(row.key, source.load_image(*row.image));
      half.image_seed = row.image_seed;
      half.flagged = row.flagged;
      half.truncated_tokens = row.truncated_tokens;
      half.image_seconds = row.image_seconds;
    }
    lent.push_back(std::move(half));
  }
  if (lent.empty()) return;
  std::vector<roundtrip::SampleRow> samples = source.samples();
  for (roundtrip::SampleRow& sample : samples) sample.image.clear();  // the run reads its originals itself
  store.add_samples(samples);
  store.put_candidates(lent);
}

class Cells {
 public:
  Cells(const std::vector<std::string>& captioners, const std::vector<std::string>& generators, const fs::path& folder)
      : captioners_(std::ssize(captioners)), generators_(std::ssize(generators)) {
    for (int64_t i = 0; i < captioners_; ++i) {
      for (int64_t j = 0; j < generators_; ++j) stores_.push_back(Store::open(folder / cell_name(i, j)));
    }
  }

  // Errors, of all cells.
  std::vector<roundtrip::ErrorRow> failures() const {
    std::vector<roundtrip::ErrorRow> all;
    for (const Store& store : stores_) {
      for (roundtrip::ErrorRow& error : store.errors()) {
        error.sample = store.folder().filename().string() + " " + error.sample;
        all.push_back(std::move(error));
      }
    }
    return all;
  }

  int64_t samples() const { return std::ssize(stores_.front().samples()); }

  std::vector<MatrixTable> tables() const {
    std::vector<MatrixTable> tables;
    for (const Direction direction : stores_.front().directions()) {
      for (const score::MetricInfo& metric : stores_.front().metrics()) {
        if (auto table = table_of(direction, metric)) tables.push_back(std::move(*table));
      }
    }
    return tables;
  }

 private:
  // Nothing where no sample has a value in all cells.
  std::optional<MatrixTable> table_of(Direction direction, const score::MetricInfo& metric) const {
    MatrixTable table{direction, roundtrip::role(direction, metric.inputs), metric};
    const bool quality = table.role == roundtrip::Role::kQuality, captions = direction == Direction::kI2T2I;
    const int64_t rows = quality && !captions ? 1 : captioners_, width = quality && captions ? 1 : generators_;
    std::vector<std::map<std::string, double>> means;
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < width; ++j) {
        means.push_back(
            roundtrip::sample_means(stores_[static_cast<size_t>(i * generators_ + j)], direction, metric.name));
      }
    }
    std::vector<std::vector<double>> columns(means.size());  // a cell's values of the common samples
    for (const auto& [sample, value] : means.front()) {
      if (std::ranges::any_of(means, [&](const auto& cell) { return !cell.contains(sample); })) continue;
      for (size_t c = 0; c < means.size(); ++c) columns[c].push_back(means[c].at(sample));
    }
    if (columns.front().empty()) return std::nullopt;
    table.samples = std::ssize(columns.front());
    const std::vector<score::Interval> intervals = score::bootstrap_means(columns);
    for (int64_t i = 0; i < rows; ++i) {
      table.cells.emplace_back(intervals.begin() + i * width, intervals.begin() + (i + 1) * width);
    }
    add_tests(table, columns);
    if (!quality && captioners_ > 1 && generators_ > 1) table.sensitivity = sensitivity(table, columns);
    return table;
  }

  static void add_tests(MatrixTable& table, const std::vector<std::vector<double>>& columns) {
    const int64_t rows = std::ssize(table.cells), width = std::ssize(table.cells.front());
    const auto test = [&](int64_t i, int64_t j, int64_t k, int64_t l) {
      const auto& a = columns[static_cast<size_t>(i * width + j)];
      const auto& b = columns[static_cast<size_t>(k * width + l)];
      const double p = score::paired_permutation(score::aggregate_means({a}), score::aggregate_means({b})).front();
      table.tests.push_back({i, j, k, l, {.difference = score::paired_difference(a, b), .p = p}});
    };
    for (int64_t j = 0; j < width; ++j) {
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t k = i + 1; k < rows; ++k) test(i, j, k, j);
      }
    }
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < width; ++j) {
        for (int64_t l = j + 1; l < width; ++l) test(i, j, i, l);
      }
    }
    std::vector<double> p;
    for (const CellTest& cell : table.tests) p.push_back(cell.test.p);
    const std::vector<double> corrected = score::holm(p);
    for (size_t t = 0; t < p.size(); ++t) table.tests[t].test.p_holm = corrected[t];
  }

  Sensitivity sensitivity(const MatrixTable& table, const std::vector<std::vector<double>>& columns) const {
    const score::Statistic statistic{.samples = std::ssize(columns.front()),
                                     .values = [&](std::span<const uint32_t> drawn) {
                                       std::vector<double> cells;
                                       for (const std::vector<double>& column : columns) {
                                         double sum = 0;
                                         for (const uint32_t sample : drawn) sum += column[sample];
                                         cells.push_back(sum / static_cast<double>(drawn.size()));
                                       }
                                       const score::TwoWay shares = score::two_way(cells, captioners_, generators_);
                                       return std::vector<double>{shares.rows, shares.columns, shares.interaction};
                                     }};
    const std::vector<score::Interval> shares = score::bootstrap(statistic);
    Sensitivity result{shares[0], shares[1], shares[2]};
    // How much better one captioner is than the other, under a generator.
    const auto lead = [&](int64_t i, int64_t k, int64_t generator) {
      const auto j = static_cast<size_t>(generator);
      return table.cells[static_cast<size_t>(i)][j].mean - table.cells[static_cast<size_t>(k)][j].mean;
    };
    for (int64_t i = 0; i < captioners_; ++i) {
      for (int64_t k = i + 1; k < captioners_; ++k) {
        for (int64_t j = 0; j < generators_; ++j) {
          for (int64_t l = j + 1; l < generators_; ++l) {
            ++result.pairs;
            result.reversals += lead(i, k, j) * lead(i, k, l) < 0 ? 1 : 0;
          }
        }
      }
    }
    return result;
  }

  int64_t captioners_, generators_;
  std::vector<Store> stores_;  // captioner by captioner
};

ordered_json json_of(const score::Interval& interval) {
  const auto number = [](double value) { return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr); };
  return {{"mean", number(interval.mean)}, {"low", number(interval.low)}, {"high", number(interval.high)}};
}

}  // namespace

std::string cell_name(int64_t captioner, int64_t generator) {
  return fmt::format("c{}-g{}", captioner + 1, generator + 1);
}

Matrix read_matrix(const std::vector<std::string>& captioners, const std::vector<std::string>& generators,
                   const fs::path& folder) {
  expect_distinct("captioners", captioners);
  expect_distinct("generators", generators);
  const Cells cells(captioners, generators, folder);
  return {captioners, generators, cells.tables(), cells.failures(), cells.samples()};
}

Matrix matrix(const MatrixOptions& options, const fs::path& folder, const Context& context, const Ranks& ranks,
              const std::string& command) {
  check_options(options);
  expect_distinct("captioners", options.captioners);
  expect_distinct("generators", options.generators);
  const int64_t captioners = std::ssize(options.captioners), generators = std::ssize(options.generators);
  for (int64_t i = 0; i < captioners; ++i) {
    for (int64_t j = 0; j < generators; ++j) {
      roundtrip::RunOptions run = options.run;
      run.captioner = options.captioners[static_cast<size_t>(i)];
      run.generator = options.generators[static_cast<size_t>(j)];
      if (ranks.is_root()) {
        context.progress().note(fmt::format("{} of {}: {} and {}", i * generators + j + 1, captioners * generators,
                                            run.captioner, run.generator));
      }
      const auto prepare = [&](Store& store) {
        for (const Direction direction : run.directions) {
          const bool captions = direction == Direction::kI2T2I;
          if (captions ? j == 0 : i == 0) continue;
          lend(Store::open(folder / (captions ? cell_name(i, 0) : cell_name(0, j))), direction, store);
        }
      };
      workflow::run(run, folder / cell_name(i, j), context, ranks, {.command = command, .prepare = prepare});
    }
  }
  if (!ranks.is_root()) return {};
  Matrix result = read_matrix(options.captioners, options.generators, folder);
  write_file(folder / "matrix.json",
             to_json(result).dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
  return result;
}

ordered_json to_json(const Matrix& matrix) {
  ordered_json tables = ordered_json::array();
  for (const MatrixTable& table : matrix.tables) {
    ordered_json cells = ordered_json::array(), tests = ordered_json::array();
    for (const auto& row : table.cells) {
      ordered_json line = ordered_json::array();
      for (const score::Interval& cell : row) line.push_back(json_of(cell));
      cells.push_back(std::move(line));
    }
    for (const auto& [captioner_a, generator_a, captioner_b, generator_b, test] : table.tests) {
      tests.push_back({{"a", cell_name(captioner_a, generator_a)},
                       {"b", cell_name(captioner_b, generator_b)},
                       {"difference", json_of(test.difference)},
                       {"p", test.p},
                       {"p_holm", test.p_holm}});
    }
    ordered_json entry = {{"direction", name(table.direction)},
                          {"metric", table.metric.name},
                          {"role", table.role == roundtrip::Role::kDistance ? "distance" : "quality"},
                          {"better", table.metric.direction == score::Direction::kLowerIsBetter ? "lower" : "higher"},
                          {"samples", table.samples},
                          {"cells", std::move(cells)},
                          {"tests", std::move(tests)}};
    if (table.sensitivity) {
      entry["sensitivity"] = {{"captioner", json_of(table.sensitivity->captioner)},
                              {"generator", json_of(table.sensitivity->generator)},
                              {"interaction", json_of(table.sensitivity->interaction)},
                              {"pairs", table.sensitivity->pairs},
                              {"reversals", table.sensitivity->reversals}};
    }
    tables.push_back(std::move(entry));
  }
  return {{"captioners", matrix.captioners},
          {"generators", matrix.generators},
          {"samples", matrix.samples},
          {"errors", std::ssize(matrix.failures)},
          {"tables", std::move(tables)}};
}

}  // namespace readback::workflow
