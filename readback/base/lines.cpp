#include "readback/base/lines.h"

#include <algorithm>

#include "readback/base/error.h"
#include "readback/base/files.h"

namespace readback {

namespace {

constexpr std::string_view kBlanks = " \t\r\n";

}  // namespace

std::string_view without_mark(std::string_view text, const std::string& where) {
  struct Mark {
    std::string_view bytes;
    const char* encoding;
  };
  // UTF-32's little-endian mark begins like UTF-16's.
  constexpr Mark kMarks[] = {{{"\xFF\xFE\0\0", 4}, "UTF-32"},
                             {{"\0\0\xFE\xFF", 4}, "UTF-32"},
                             {{"\xFF\xFE", 2}, "UTF-16"},
                             {{"\xFE\xFF", 2}, "UTF-16"}};
  for (const Mark& mark : kMarks) {
    if (!text.starts_with(mark.bytes)) continue;
    throw DataError(describe(where, "text in UTF-8", mark.encoding,
                             std::string("Convert it: iconv -f ") + mark.encoding + " -t UTF-8"));
  }
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  return text;
}

std::string read_text(const std::filesystem::path& path) {
  std::string text = read_file(path);
  text.erase(0, text.size() - without_mark(text, path.string()).size());
  return text;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

bool is_blank(std::string_view line) { return line.find_first_not_of(kBlanks) == std::string_view::npos; }

std::string_view trimmed(std::string_view line) {
  const size_t begin = std::min(line.find_first_not_of(kBlanks), line.size());
  return line.substr(begin, line.find_last_not_of(kBlanks) + 1 - begin);
}

}  // namespace readback
