// Texts of other people as lines: the one way in which every reader of text files does it.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace readback {

// Without the byte-order mark that some programs put before UTF-8.
// Errors: DataError naming `where` when the mark is that of UTF-16 or UTF-32.
std::string_view without_mark(std::string_view text, const std::string& where);

// The whole file without its mark. Errors: as read_file() and without_mark().
std::string read_text(const std::filesystem::path& path);

// Lines end with LF or CRLF, the last one also with the text. A blank line is a line like others: what it means is for
// the reader to say. The views point into `text`.
std::vector<std::string_view> lines_of(std::string_view text);

// Nothing but spaces, tabs and line ends.
bool is_blank(std::string_view line);

// Without the spaces, tabs and line ends at both ends.
std::string_view trimmed(std::string_view line);

}  // namespace readback
