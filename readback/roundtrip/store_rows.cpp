#include <algorithm>
#include <charconv>

#include "readback/base/error.h"
#include "readback/image/codec.h"
#include "readback/roundtrip/role.h"
#include "readback/roundtrip/store_impl.h"

namespace readback::roundtrip {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// Whether a path of a row stays in the run folder: rows may come from anyone.
bool is_inside(const fs::path& relative) {
  return relative.is_relative() && std::ranges::none_of(relative, [](const fs::path& part) { return part == ".."; });
}

std::optional<std::string> image_path(const Statement& row, int column) {
  std::optional<std::string> path = row.optional_text(column);
  if (path && !is_inside(*path)) row.damaged(column, "a path within the run folder");
  return path;
}

std::vector<std::string> texts(const Statement& row, int column) {
  const json list = json::parse(row.text(column), nullptr, /*allow_exceptions=*/false);
  if (!list.is_array() || !std::ranges::all_of(list, [](const json& item) { return item.is_string(); })) {
    row.damaged(column, "a JSON array of strings");
  }
  return list.get<std::vector<std::string>>();
}

std::vector<int64_t> integers(const Statement& row, int column) {
  const json list = json::parse(row.text(column), nullptr, /*allow_exceptions=*/false);
  const auto fits = [](const json& item) {
    return item.is_number_integer() && (!item.is_number_unsigned() || item.get<uint64_t>() <= INT64_MAX);
  };
  if (!list.is_array() || !std::ranges::all_of(list, fits)) row.damaged(column, "a JSON array of integers");
  return list.get<std::vector<int64_t>>();
}

uint64_t unsigned_digits(const Statement& row, int column) {
  const std::string digits = row.text(column);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) row.damaged(column, "an unsigned 64-bit integer");
  return value;
}

score::Inputs inputs(const Statement& row, int column) {
  const auto known = score::parse_inputs(row.text(column));
  if (!known) row.damaged(column, "inputs of a metric that this version knows");
  return *known;
}

constexpr const char* kCandidateColumns =
    "SELECT c.sample, c.candidate, c.text, c.token_ids, c.log_probability, c.image, c.image_seed, c.flagged, "
    "c.truncated_tokens, c.text_seconds, c.image_seconds FROM candidates c ";

CandidateRow read_candidate(const Statement& row, Direction direction, int64_t num_candidates) {
  CandidateRow result;
  result.key = {direction, row.text(0), row.integer(1, 0, num_candidates - 1)};
  result.text = row.optional_text(2);
  if (result.text && !row.is_null(3)) result.token_ids = integers(row, 3);
  if (result.text) result.log_probability = row.optional_real(4);
  result.image = image_path(row, 5);
  if (result.image && !row.is_null(6)) result.image_seed = unsigned_digits(row, 6);
  result.flagged = row.integer(7, 0, 1) != 0;
  result.truncated_tokens = row.integer(8, 0);
  result.text_seconds = row.real(9);
  result.image_seconds = row.real(10);
  return result;
}

int64_t count(Database& database, Direction direction, const std::string& condition) {
  Statement row(database, "SELECT COUNT(*) FROM candidates WHERE direction = ? AND " + condition);
  row.bind(name(direction)).step();
  return row.integer(0);
}

// Rows of scores or floors, without those that a blanked picture spoils.
std::string unspoiled(Database& database, Direction direction, const std::string& metric, const std::string& select) {
  Statement of_metric(database, "SELECT inputs FROM metrics WHERE metric = ?");
  const bool needed = !of_metric.bind(metric).step() || needs_picture(direction, inputs(of_metric, 0));
  return select + " c JOIN samples s ON s.sample = c.sample WHERE c.direction = ?1 AND c.metric = ?2 " +
         (needed ? "AND (c.sample, c.candidate) NOT IN (SELECT sample, candidate FROM candidates "
                   "WHERE direction = ?1 AND flagged <> 0) "
                 : "") +
         "ORDER BY s.position, c.candidate";
}

}  // namespace

const fs::path& Store::folder() const { return impl_->folder; }
const Manifest& Store::manifest() const { return impl_->manifest; }
const std::vector<std::string>& Store::notes() const { return impl_->notes; }
int64_t Store::num_candidates() const { return impl_->shape.num_candidates; }
const std::vector<Direction>& Store::directions() const { return impl_->shape.directions; }
uint64_t Store::seed() const { return impl_->shape.seed; }

std::vector<SampleRow> Store::samples() const {
  std::vector<SampleRow> rows;
  Statement row(*impl_->database, std::string("SELECT sample, position, image, reference_texts, truth") +
                                      (impl_->schema < 5 ? "" : ", domain") + " FROM samples ORDER BY position");
  while (row.step()) {
    const auto position = static_cast<int64_t>(rows.size());
    rows.push_back({row.text(0), row.integer(1, position, position), image_path(row, 2).value_or(""), texts(row, 3),
                    row.text(4), impl_->schema < 5 ? "" : row.text(5)});
  }
  return rows;
}

std::vector<CandidateRow> Store::candidates(Direction direction) const {
  std::vector<CandidateRow> rows;
  Statement row(*impl_->database, std::string(kCandidateColumns) +
                                      "JOIN samples s ON s.sample = c.sample WHERE c.direction = ? "
                                      "ORDER BY s.position, c.candidate");
  row.bind(name(direction));
  while (row.step()) rows.push_back(read_candidate(row, direction, num_candidates()));
  return rows;
}

std::vector<CandidateRow> Store::candidates(Direction direction, const std::string& sample) const {
  std::vector<CandidateRow> rows;
  Statement row(*impl_->database,
                std::string(kCandidateColumns) + "WHERE c.direction = ? AND c.sample = ? ORDER BY c.candidate");
  row.bind(name(direction), sample);
  while (row.step()) rows.push_back(read_candidate(row, direction, num_candidates()));
  return rows;
}

int64_t Store::count_complete(Direction direction) const {
  return count(*impl_->database, direction, "text IS NOT NULL AND image IS NOT NULL");
}

int64_t Store::count_truncated(Direction direction) const {
  return count(*impl_->database, direction, "truncated_tokens > 0");
}

std::vector<CandidateKey> Store::flagged(Direction direction) const {
  std::vector<CandidateKey> keys;
  Statement row(*impl_->database,
                "SELECT c.sample, c.candidate FROM candidates c JOIN samples s ON s.sample = c.sample "
                "WHERE c.direction = ? AND c.flagged <> 0 ORDER BY s.position, c.candidate");
  row.bind(name(direction));
  while (row.step()) keys.push_back({direction, row.text(0), row.integer(1, 0, num_candidates() - 1)});
  return keys;
}

std::vector<ErrorRow> Store::errors() const {
  std::vector<ErrorRow> rows;
  Statement row(*impl_->database,
                "SELECT e.sample, e.direction, e.candidate, e.stage, e.message FROM errors e "
                "JOIN samples s ON s.sample = e.sample ORDER BY s.position, e.direction, e.candidate, e.stage");
  while (row.step()) {
    ErrorRow error{row.text(0), {}, row.integer(2, -1, num_candidates() - 1), row.text(3), row.text(4)};
    const std::string direction = row.text(1);
    error.direction = find_direction(direction);
    if (!error.direction && !direction.empty()) row.damaged(1, "i2t2i, t2i2t or nothing");
    rows.push_back(std::move(error));
  }
  return rows;
}

std::vector<score::MetricInfo> Store::metrics() const {
  std::vector<score::MetricInfo> rows;
  Statement row(*impl_->database,
                "SELECT metric, title, formula, direction, inputs, checkpoint FROM metrics ORDER BY position");
  while (row.step()) {
    const std::string better = row.text(3);
    if (better != "lower" && better != "higher") row.damaged(3, "lower or higher");
    rows.push_back({row.text(0), row.text(1), row.text(2),
                    better == "lower" ? score::Direction::kLowerIsBetter : score::Direction::kHigherIsBetter,
                    inputs(row, 4), row.text(5)});
  }
  return rows;
}

std::vector<ScoreRow> Store::scores(Direction direction, const std::string& metric) const {
  std::vector<ScoreRow> rows;
  Statement row(*impl_->database,
                unspoiled(*impl_->database, direction, metric, "SELECT c.sample, c.candidate, c.value FROM scores"));
  row.bind(name(direction), metric);
  while (row.step()) {
    const CandidateKey key{direction, row.text(0), row.integer(1, 0, num_candidates() - 1)};
    rows.push_back({key, metric, row.optional_real(2)});
  }
  return rows;
}

std::vector<FloorRow> Store::floors(Direction direction, const std::string& metric) const {
  std::vector<FloorRow> rows;
  Statement row(*impl_->database, unspoiled(*impl_->database, direction, metric,
                                            "SELECT c.sample, c.candidate, c.other, c.value FROM floors"));
  row.bind(name(direction), metric);
  while (row.step()) {
    const CandidateKey key{direction, row.text(0), row.integer(1, 0, num_candidates() - 1)};
    rows.push_back({key, metric, row.text(2), row.optional_real(3)});
  }
  return rows;
}

std::vector<CeilingRow> Store::ceilings(const std::string& metric) const {
  std::vector<CeilingRow> rows;
  if (impl_->schema < 4) return rows;
  Statement row(*impl_->database,
                "SELECT c.sample, c.value FROM ceilings c JOIN samples s ON s.sample = c.sample WHERE c.metric = ? "
                "ORDER BY s.position");
  row.bind(metric);
  while (row.step()) rows.push_back({row.text(0), metric, row.optional_real(1)});
  return rows;
}

std::vector<SetCurve> Store::set_curves() const {
  std::vector<SetCurve> curves;
  if (impl_->schema < 2) return curves;
  Statement row(*impl_->database,
                "SELECT direction, distance, checkpoint, samples, rank, fid FROM set_curves "
                "ORDER BY direction, distance, rank");
  int64_t next = 0;
  while (row.step()) {
    const int64_t rank = row.integer(4, next, next);
    if (rank == 0) {
      const auto direction = find_direction(row.text(0));
      if (!direction) row.damaged(0, "i2t2i or t2i2t");
      curves.push_back({*direction, row.text(1), row.text(2), {}, row.integer(3, 0)});
    } else if (row.text(0) != name(curves.back().direction) || row.text(1) != curves.back().distance) {
      row.damaged(4, "rank 0 of a curve");
    }
    curves.back().ranks.push_back(row.real(5));
    next = rank + 1 == num_candidates() ? 0 : rank + 1;
  }
  if (next != 0) {
    throw StoreError(describe((impl_->folder / "run.sqlite").string() + ", set_curves",
                              std::to_string(num_candidates()) + " ranks a curve", std::to_string(next),
                              "The run is damaged: restore its folder from a copy, or begin in another"));
  }
  return curves;
}

bool Store::has_image(const std::string& relative) const {
  std::error_code error;
  const auto size = is_inside(relative) ? fs::file_size(impl_->folder / relative, error) : 0;
  return !error && size > 0;
}

image::Image Store::load_image(const std::string& relative) const {
  if (!is_inside(relative)) {
    throw StoreError(describe(impl_->folder.string(), "a path within the run folder", "\"" + relative + "\""));
  }
  return image::load(impl_->folder / relative, image::Alpha::kOnWhite);
}

}  // namespace readback::roundtrip
