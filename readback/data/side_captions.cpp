#include "readback/data/side_captions.h"

#include "readback/base/files.h"
#include "readback/base/lines.h"
#include "readback/data/layouts/layout.h"

namespace readback::data {

namespace fs = std::filesystem;

std::vector<std::string> captions_in(std::string_view text, const std::string& where, Problems& problems) {
  std::vector<std::string> captions;
  try {
    text = without_mark(text, where);
  } catch (const DataError& error) {
    problems.error(Damage::kEncoding, error.what());
    return captions;
  }
  if (!is_utf8(text)) {  // stores and reports hold UTF-8 only
    problems.error(Damage::kEncoding, describe(where, "texts in UTF-8", "other bytes",
                                               "Convert the file, for example with iconv -f latin1 -t utf-8"));
    return captions;
  }
  for (const std::string_view line : lines_of(text)) {
    if (!is_blank(line)) captions.emplace_back(trimmed(line));
  }
  if (captions.empty()) problems.remark(Damage::kEmptyCaption, describe(where, "a caption", "nothing but blanks"));
  return captions;
}

std::vector<std::string> side_captions(const fs::path& picture, Problems& problems) {
  constexpr std::uintmax_t kMostBytes = 1 << 20;
  for (const char* ending : kSideEndings) {
    const fs::path path = fs::path(picture).replace_extension(ending);
    std::error_code error;
    if (!fs::is_regular_file(path, error)) continue;
    if (const auto size = fs::file_size(path, error); !error && size > kMostBytes) {
      problems.error(Damage::kTooLarge, describe(path.string(), "captions of at most 1 MiB", std::to_string(size)));
      return {};
    }
    try {
      return captions_in(read_file(path), path.string(), problems);
    } catch (const DataError& failure) {  // of reading: problems' own are thrown on
      if (!problems.checking()) throw;
      problems.error(Damage::kWrongStructure, failure.what());
      return {};
    }
  }
  return {};
}

}  // namespace readback::data
