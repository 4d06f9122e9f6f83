#include "readback/base/lines.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/files.h"

namespace readback {
namespace {

using Lines = std::vector<std::string_view>;

TEST(Lines, EndWithLineFeedOrCarriageReturnAndLineFeed) {
  EXPECT_EQ(lines_of(""), Lines{});
  EXPECT_EQ(lines_of("a"), Lines{"a"});
  EXPECT_EQ(lines_of("a\n"), Lines{"a"});
  EXPECT_EQ(lines_of("a\r\nb\r\n"), (Lines{"a", "b"}));
  EXPECT_EQ(lines_of("a\r\nb"), (Lines{"a", "b"}));
  EXPECT_EQ(lines_of("a\r\nb\r"), (Lines{"a", "b"}));
  EXPECT_EQ(lines_of("a\n\n \r\n\n"), (Lines{"a", "", " ", ""}));
  EXPECT_EQ(lines_of("a\rb\n"), (Lines{"a\rb"}));  // not a line's end by itself
}

TEST(Lines, ABlankLineIsOneForItsReaderToJudge) {
  EXPECT_TRUE(is_blank(""));
  EXPECT_TRUE(is_blank(" \t\r\n"));
  EXPECT_FALSE(is_blank(" a"));
  EXPECT_EQ(trimmed(" \ta b \r\n"), "a b");
  EXPECT_EQ(trimmed(" \t"), "");
}

TEST(Lines, MarksOfUtf8AreDroppedAndOthersRefused) {
  EXPECT_EQ(without_mark("\xEF\xBB\xBF"
                         "a",
                         "x"),
            "a");
  EXPECT_EQ(without_mark("a", "x"), "a");
  for (const auto& [bytes, encoding] :
       {std::pair{std::string("\xFF\xFE"
                              "a\0",
                              4),
                  "UTF-16"},
        std::pair{std::string("\xFE\xFF\0a", 4), "UTF-16"}, std::pair{std::string("\xFF\xFE\0\0", 4), "UTF-32"},
        std::pair{std::string("\0\0\xFE\xFF", 4), "UTF-32"}}) {
    try {
      without_mark(bytes, "prompts.txt");
      ADD_FAILURE() << encoding;
    } catch (const DataError& error) {
      EXPECT_EQ(std::string(error.what()).find("prompts.txt: expected text in UTF-8, got " + std::string(encoding)), 0U)
          << error.what();
    }
  }
}

TEST(Lines, ReadingDropsTheMark) {
  const auto path = std::filesystem::temp_directory_path() / ("readback_lines_" + std::to_string(::getpid()));
  write_file(path,
             "\xEF\xBB\xBF"
             "a\r\n");
  EXPECT_EQ(read_text(path), "a\r\n");
  write_file(path,
             "\xEF\xBB\xBF"
             "{\"a\": 1}");
  EXPECT_EQ(read_json(path).at("a"), 1);
  write_file(path, std::string("\xFF\xFE{\0}\0", 6));
  EXPECT_THROW(read_json(path), DataError);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace readback
