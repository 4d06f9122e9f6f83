#include "readback/score/text/meteor/archive.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "meteor_tables.h"
#include "readback/base/error.h"
#include "readback/score/text/meteor/prepare.h"
#include "readback/score/text/meteor/tables.h"

namespace readback::score {
namespace {

std::string expected_text() {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "a red fox\n";
  return text;
}

std::string gzip(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string result(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(result.data());
  stream.avail_out = static_cast<uInt>(result.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  result.resize(stream.total_out);
  deflateEnd(&stream);
  return result;
}

TEST(Archive, ReadsStoredAndDeflatedMembers) {
  const std::string zip = read_file(kMeteorGoldens / "archive.zip");
  EXPECT_EQ(read_zip_member(zip, "stored.txt", "archive.zip"), expected_text());
  EXPECT_EQ(read_zip_member(zip, "folder/deflated.txt", "archive.zip"), expected_text());
  EXPECT_THROW(read_zip_member(zip, "deflated.txt", "archive.zip"), DataError);
  EXPECT_THROW(read_zip_member("no archive", "stored.txt", "archive.zip"), DataError);
}

TEST(Archive, DamagedZipFilesAreErrors) {
  const std::string zip = read_file(kMeteorGoldens / "archive.zip");
  for (size_t size = 0; size < zip.size(); ++size) {
    EXPECT_THROW(read_zip_member(zip.substr(0, size), "folder/deflated.txt", "archive.zip"), DataError) << size;
  }
  int errors = 0;
  for (size_t at = 0; at < zip.size(); ++at) {
    std::string damaged = zip;
    damaged[at] = static_cast<char>(~damaged[at]);
    try {
      EXPECT_EQ(read_zip_member(damaged, "folder/deflated.txt", "archive.zip"), expected_text()) << at;
    } catch (const DataError&) {
      ++errors;
    }
  }
  EXPECT_GT(errors, 50);
}

TEST(Archive, Gunzips) {
  std::string text;
  for (int64_t i = 0; i < 300000; ++i) text += std::to_string(i * 7919 % 1000003);
  const std::string packed = gzip(text);
  EXPECT_EQ(gunzip(packed, "file.gz"), text);
  EXPECT_EQ(gunzip(gzip(""), "file.gz"), "");
  EXPECT_THROW(gunzip(packed.substr(0, packed.size() / 2), "file.gz"), DataError);
  EXPECT_THROW(gunzip("", "file.gz"), DataError);
  EXPECT_THROW(gunzip("not compressed", "file.gz"), DataError);
}

TEST(PrepareMeteor, AcceptsOnlyTheKnownFiles) {
  const MeteorFolder folder;
  EXPECT_THROW(prepare_meteor_tables(folder.folder(), folder.file()), DataError);
  write_file(folder.folder() / "meteor-1.5.jar", "abc");
  try {
    prepare_meteor_tables(folder.folder(), folder.file());
    FAIL();
  } catch (const DataError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("1e57b4c7"), std::string::npos) << message;
    EXPECT_NE(message.find("ba7816bf"), std::string::npos) << message;  // the SHA-256 of abc
  }
  EXPECT_FALSE(has_meteor_tables());
}

}  // namespace
}  // namespace readback::score
