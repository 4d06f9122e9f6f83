#include "readback/score/text/word_vectors.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "readback/base/error.h"
#include "readback/base/file_digest.h"
#include "readback/base/lines.h"
#include "readback/base/random.h"
#include "readback/text/unicode.h"

namespace readback::score {

namespace {

constexpr size_t kLongestLine = 1 << 20;  // bytes

bool is_blank(char c) { return c == ' ' || c == '\t'; }

// Without the blanks that word2vec puts at the end.
std::string_view trim_end(std::string_view line) {
  while (!line.empty() && is_blank(line.back())) line.remove_suffix(1);
  return line;
}

// Blank lines at the end are none; others are errors, as lines without a word and numbers are.
std::vector<std::string_view> split_lines(std::string_view bytes, const std::string& where) {
  std::vector<std::string_view> lines = lines_of(bytes);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].size() > kLongestLine) {
      throw CheckpointError(describe(fmt::format("{}, line {}", where, i + 1), "a word and its numbers",
                                     "a line of more than 1 MiB", "Is it a file of word vectors in text?"));
    }
    lines[i] = trim_end(lines[i]);
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

// As a checkpoint's readers say it.
std::string_view text_of(std::string_view bytes, const std::string& where) {
  try {
    return without_mark(bytes, where);
  } catch (const DataError& error) {
    throw CheckpointError(error.what());
  }
}

int64_t count_fields(std::string_view line) {
  int64_t fields = 0;
  for (size_t i = 0; i < line.size(); ++i) fields += !is_blank(line[i]) && (i == 0 || is_blank(line[i - 1]));
  return fields;
}

struct Header {
  int64_t words = 0, width = 0;
};

std::optional<Header> read_header(std::string_view line) {
  Header header;
  const char* end = line.data() + line.size();
  const auto words = std::from_chars(line.data(), end, header.words);
  if (words.ec != std::errc() || words.ptr == end || !is_blank(*words.ptr)) return std::nullopt;
  const auto width = std::from_chars(words.ptr + 1, end, header.width);
  if (width.ec != std::errc() || width.ptr != end || header.words < 0 || header.width < 0) return std::nullopt;
  return header;
}

// The number that begins at `at`, which is moved behind it; NaN when there is none.
double read_number(const char*& at, const char* end) {
  double value = 0;
  const auto [next, error] = std::from_chars(at, end, value);
  const bool whole = next == end || is_blank(*next);
  // What is too small for a double is as good as zero; what is too large is no number.
  if (error == std::errc::result_out_of_range && whole) {
    const std::string_view digits(at, static_cast<size_t>(next - at));
    value = digits.find("e-") == std::string_view::npos && digits.find("E-") == std::string_view::npos ? NAN : 0;
  } else if (error != std::errc() || !whole) {
    return NAN;
  }
  at = next;
  return static_cast<float>(value);
}

std::string_view field_at(const char* at, const char* end) {
  return {at, static_cast<size_t>(std::find_if(at, end, is_blank) - at)};
}

// Reads `text`, whose fields are parted by blanks. Empty when all went well, else what is wrong with it.
std::string read_numbers(std::string_view text, std::span<float> numbers) {
  const char *at = text.data(), *end = at + text.size();
  for (float& number : numbers) {
    while (at != end && is_blank(*at)) ++at;
    const char* begin = at;
    number = static_cast<float>(read_number(at, end));
    if (!std::isfinite(number)) return fmt::format("\"{}\"", field_at(begin, end).substr(0, 40));
  }
  return "";
}

struct Line {
  std::string_view word, numbers;
  std::string problem;  // empty when there is none
  const char* expected = "";
};

// Where the last `width` fields of the line begin; npos when there are fewer.
size_t last_fields(std::string_view line, int64_t width) {
  size_t at = line.size();
  for (int64_t field = 0; field < width; ++field) {
    while (at > 0 && is_blank(line[at - 1])) --at;
    if (at == 0) return std::string_view::npos;
    while (at > 0 && !is_blank(line[at - 1])) --at;
  }
  return at;
}

Line read_line(std::string_view text, std::span<float> numbers) {
  const auto width = static_cast<int64_t>(numbers.size());
  const size_t begin = last_fields(text, width);
  Line line;
  if (begin != std::string_view::npos) {
    line.word = trim_end(text.substr(0, begin));
    line.numbers = text.substr(begin);
  }
  // More numbers than there should be would read as a word with blanks.
  const size_t blank = line.word.find_first_of(" \t");
  const bool wide = blank != std::string_view::npos && [&] {
    const char* at = line.word.data() + blank + 1;
    return !std::isnan(read_number(at, line.word.data() + line.word.size()));
  }();
  if (line.word.empty() || wide) {
    line.expected = "a word and as many numbers as in the first line";
    line.problem = fmt::format("{} numbers instead of {}", std::max<int64_t>(count_fields(text) - 1, 0), width);
    return line;
  }
  const bool ascii = std::all_of(line.word.begin(), line.word.end(), [](char c) { return (c & 0x80) == 0; });
  if (!ascii && text::encode_utf8(text::decode_utf8(line.word)) != line.word) {
    line.expected = "a word in UTF-8";
    line.problem = "other bytes";
    return line;
  }
  line.expected = "finite numbers";
  line.problem = read_numbers(line.numbers, numbers);
  return line;
}

}  // namespace

WordVectors::WordVectors(const std::filesystem::path& path)
    : name_(path.filename().string()), file_(checkpoint::MappedFile::open(path)) {
  std::vector<std::string_view> texts = split_lines(text_of(file_->bytes(), path.string()), path.string());
  const std::optional<Header> header = texts.empty() ? std::nullopt : read_header(texts.front());
  const size_t first = header ? 1 : 0;
  if (texts.size() == first) throw CheckpointError(describe(path.string(), "words with their vectors", "none"));
  if (header && header->words != static_cast<int64_t>(texts.size() - 1)) {
    throw CheckpointError(describe(path.string(), fmt::format("{} words, as its first line says", header->words),
                                   std::to_string(texts.size() - 1), "Is the file cut off?"));
  }
  width_ = header ? header->width : count_fields(texts.front()) - 1;
  if (width_ < 1 || width_ > static_cast<int64_t>(kLongestLine)) {
    throw CheckpointError(describe(path.string() + ", line 1", "a word and its numbers",
                                   "\"" + std::string(texts.front().substr(0, 80)) + "\""));
  }

  const auto count = static_cast<int64_t>(texts.size() - first);
  std::vector<Line> lines(static_cast<size_t>(count));
  at::parallel_for(0, count, 1024, [&](int64_t begin, int64_t end) {
    std::vector<float> numbers(static_cast<size_t>(width_));
    for (int64_t i = begin; i < end; ++i) {
      lines[static_cast<size_t>(i)] = read_line(texts[first + static_cast<size_t>(i)], numbers);
    }
  });
  numbers_.reserve(lines.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    if (!lines[i].problem.empty()) {
      throw CheckpointError(
          describe(fmt::format("{}, line {}", path.string(), first + i + 1), lines[i].expected, lines[i].problem));
    }
    numbers_.emplace(lines[i].word, lines[i].numbers);
  }
}

std::string WordVectors::digest(const std::filesystem::path& path) { return file_digest(path); }

std::optional<std::vector<float>> WordVectors::find(std::string_view word) const {
  const auto found = numbers_.find(word);
  if (found == numbers_.end()) return std::nullopt;
  std::vector<float> numbers(static_cast<size_t>(width_));
  read_numbers(found->second, numbers);
  return numbers;
}

}  // namespace readback::score
