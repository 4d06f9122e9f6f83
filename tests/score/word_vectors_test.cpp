#include "readback/score/text/word_vectors.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "readback/base/error.h"
#include "readback/base/files.h"

namespace readback::score {
namespace {

namespace fs = std::filesystem;

class WordVectorsFile : public testing::Test {
 protected:
  ~WordVectorsFile() override { fs::remove(path_); }
  WordVectors read(const std::string& text) const {
    write_file(path_, text);
    return WordVectors(path_);
  }
  // What is said about `text`.
  std::string refused(const std::string& text) const {
    try {
      read(text);
    } catch (const CheckpointError& error) {
      return error.what();
    }
    return "read without complaint";
  }
  fs::path path_ = fs::temp_directory_path() / ("readback-vectors-" + std::to_string(::getpid()) + ".txt");
};

using Numbers = std::vector<float>;

TEST_F(WordVectorsFile, ReadsGlove) {
  const WordVectors vectors = read("the 0.5 -1e-3\ncaf\xC3\xA9 2 3\n, 1e-60 4\nthe 7 7\n\xEF\xBF\xBD 1 1");
  EXPECT_EQ(vectors.width(), 2);
  EXPECT_EQ(vectors.size(), 4);
  EXPECT_EQ(vectors.name(), path_.filename());
  EXPECT_EQ(vectors.find("the"), (Numbers{0.5F, -0.001F}));  // the first of two
  EXPECT_EQ(vectors.find("caf\xC3\xA9"), (Numbers{2, 3}));
  EXPECT_EQ(vectors.find(","), (Numbers{0, 4}));
  EXPECT_FALSE(vectors.find("The"));
  EXPECT_FALSE(vectors.find(""));
}

TEST_F(WordVectorsFile, ReadsWord2vecAndWindows) {
  const WordVectors vectors = read("2 3\r\ndog 1 2 3 \r\ncat 4 5 6 \r\n\r\n");
  EXPECT_EQ(vectors.size(), 2);
  EXPECT_EQ(vectors.find("dog"), (Numbers{1, 2, 3}));
  EXPECT_EQ(vectors.find("cat"), (Numbers{4, 5, 6}));
  EXPECT_EQ(read("\xEF\xBB\xBF"
                 "dog 1 2\r\ncat 3 4\r\n")
                .find("dog"),
            (Numbers{1, 2}));
  EXPECT_NE(refused(std::string("\xFF\xFE"
                                "d\0",
                                4))
                .find("got UTF-16"),
            std::string::npos);
}

TEST_F(WordVectorsFile, WordsMayHoldBlanksAndLookLikeNumbers) {
  const WordVectors vectors = read("dog 1 2\n. . . 3 4\n2012 5 6\nat name@domain.com 7 8\n");
  EXPECT_EQ(vectors.size(), 4);
  EXPECT_EQ(vectors.find("2012"), (Numbers{5, 6}));
  EXPECT_EQ(vectors.find(". . ."), (Numbers{3, 4}));
}

TEST_F(WordVectorsFile, SaysWhatIsWrongAndWhere) {
  const auto expect = [&](const std::string& text, const std::string& line, const std::string& problem) {
    const std::string message = refused(text);
    EXPECT_NE(message.find(line), std::string::npos) << message;
    EXPECT_NE(message.find(problem), std::string::npos) << message;
  };
  expect("a 1 2\nb 1\n", "line 2", "1 numbers instead of 2");
  expect("a 1 2\nb 1 2 3\n", "line 2", "3 numbers instead of 2");
  expect("a 1 2\n\nb 1 2\n", "line 2", "0 numbers instead of 2");
  expect("a 1 2\n 1 2\n", "line 2", "1 numbers instead of 2");
  expect("a 1 2\nb 1 2\nc nan 2\n", "line 3", "\"nan\"");
  expect("a 1 2\nb inf 2\n", "line 2", "\"inf\"");
  expect("a 1 2\nb 1 1e39\n", "line 2", "\"1e39\"");
  expect("a 1 2\nb 1 1e999\n", "line 2", "\"1e999\"");
  expect("a 1 2\nb 1 2x\n", "line 2", "\"2x\"");
  expect("a 1 2\nb\xFF 1 2\n", "line 2", "UTF-8");
  expect("a 1 2\n" + std::string(2 << 20, 'x'), "line 2", "1 MiB");
  expect("3 2\na 1 2\nb 3 4\n", "3 words", "got 2");
  expect("dog\n", "line 1", "\"dog\"");
  expect("2 0\na\nb\n", "line 1", "numbers");
  expect("", "expected words with their vectors", "none");
  expect("5 3\n", "expected words with their vectors", "none");
  fs::remove(path_);
  EXPECT_THROW(WordVectors{path_}, CheckpointError);
  EXPECT_THROW(WordVectors{fs::temp_directory_path()}, CheckpointError);
}

}  // namespace
}  // namespace readback::score
