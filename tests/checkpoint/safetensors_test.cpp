#include "readback/checkpoint/safetensors.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>

#include "tests/checkpoint/testing.h"

namespace readback::checkpoint {
namespace {

using namespace std::string_literals;

TEST(LoadSafetensors, ReadsEveryDtypeThatPythonWrote) {
  std::map<std::string, std::string> metadata{{"stale", "x"}};
  const TensorMap tensors = load_safetensors(kGoldens / "every_dtype.safetensors", &metadata);
  EXPECT_EQ(metadata, (std::map<std::string, std::string>{{"note", "grüße 語"}}));
  EXPECT_EQ(tensors.size(), std::size(kEveryDtype) + 3);
  for (const auto& [name, dtype] : kEveryDtype)
    expect_same(tensors.at(std::string("of.") + name), golden_values({3, 5}, dtype), name);
  expect_same(tensors.at("scalar"), golden_values({}), "scalar");
  expect_same(tensors.at("empty"), golden_values({0, 4}), "empty");
  expect_same(tensors.at("four"), golden_values({2, 1, 3, 2}), "four");
}

class Safetensors : public TemporaryFolder {
 protected:
  // A file of this header and data, with the header's true length unless another is given.
  std::filesystem::path make(const std::string& header, const std::string& data = "",
                             std::optional<uint64_t> length = {}) const {
    const uint64_t size = length.value_or(header.size());
    return file(std::string(reinterpret_cast<const char*>(&size), sizeof size) + header + data);
  }
  // The message for such a file, which must be refused.
  std::string refused(const std::string& header, const std::string& data = "",
                      std::optional<uint64_t> length = {}) const {
    return error_of<CheckpointError>([&] { load_safetensors(make(header, data, length)); });
  }
};

TEST_F(Safetensors, TensorsOutliveTheMapAndTheFile) {
  at::Tensor tensor;
  {
    save_safetensors({{"a", golden_values({100, 100})}, {"b", golden_values({3})}}, folder_ / "file");
    tensor = load_safetensors(folder_ / "file").at("a");
  }
  std::filesystem::remove(folder_ / "file");
  expect_same(tensor, golden_values({100, 100}), "a");
}

TEST_F(Safetensors, WritingToATensorLeavesTheFileAlone) {
  save_safetensors({{"a", golden_values({4})}}, folder_ / "file");
  load_safetensors(folder_ / "file").at("a").fill_(5);
  expect_same(load_safetensors(folder_ / "file").at("a"), golden_values({4}), "a");
}

TEST_F(Safetensors, RoundTrip) {
  TensorMap tensors{{"scalar", golden_values({})},
                    {"empty", golden_values({2, 0})},
                    {"transposed", golden_values({3, 5}).t()},
                    {"expanded", golden_values({3, 1}).expand({3, 4})},
                    {"needs gradient", golden_values({2}).requires_grad_()},
                    {"ünïcode \"quoted\"\n", golden_values({1})},
                    {"", golden_values({1})}};
  for (const auto& [name, dtype] : kEveryDtype) tensors[name] = golden_values({3, 5}, dtype);
  const std::map<std::string, std::string> metadata{{"format", "pt"}, {"empty", ""}};
  save_safetensors(tensors, folder_ / "below" / "file", metadata);
  std::map<std::string, std::string> metadata_again;
  const TensorMap again = load_safetensors(folder_ / "below" / "file", &metadata_again);
  EXPECT_EQ(metadata_again, metadata);
  ASSERT_EQ(again.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    expect_same(again.at(name), tensor, name);
    EXPECT_FALSE(again.at(name).requires_grad());
  }
  save_safetensors({}, folder_ / "none");
  EXPECT_TRUE(load_safetensors(folder_ / "none").empty());
}

TEST_F(Safetensors, WritesTheSameBytesEachTimeAndAlignsEveryTensor) {
  const TensorMap tensors{{"a", golden_values({3}, at::kBool)},
                          {"b", golden_values({3}, at::kDouble)},
                          {"c", golden_values({5}, at::kHalf)},
                          {"d", golden_values({1}, at::kLong)}};
  save_safetensors(tensors, folder_ / "1");
  save_safetensors(tensors, folder_ / "2");
  const std::string bytes = read_file(folder_ / "1");
  EXPECT_EQ(bytes, read_file(folder_ / "2"));
  uint64_t size = 0;
  std::memcpy(&size, bytes.data(), sizeof size);
  EXPECT_EQ((sizeof size + size) % 64, 0u);
  const auto header = nlohmann::json::parse(bytes.substr(sizeof size, size));
  for (const auto& [name, entry] : header.items())
    EXPECT_EQ(entry["data_offsets"][0].get<int64_t>() % tensors.at(name).element_size(), 0) << name;
}

TEST_F(Safetensors, SaveRefusesWhatTheFormatCannotHold) {
  EXPECT_THROW(save_safetensors({{"a", at::zeros({2}, at::kComplexFloat)}}, folder_ / "file"), StoreError);
  EXPECT_THROW(save_safetensors({{"__metadata__", at::zeros({2})}}, folder_ / "file"), StoreError);
  EXPECT_THROW(save_safetensors({{"bad \xff name", at::zeros({2})}}, folder_ / "file"), StoreError);
  EXPECT_THROW(save_safetensors({{"a", at::zeros({2}).to_sparse()}}, folder_ / "file"), StoreError);
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(Safetensors, ReadsUnalignedData) {
  const std::string data = "\x01\0\0\0\0\0\0\0\x02"s + "\0\0\0\0\0\0\0"s;
  for (const char* padding : {"", " ", "  ", "   ", "       "}) {
    const auto path = make(R"({"a":{"dtype":"I64","shape":[2],"data_offsets":[0,16]}})"s + padding, data);
    expect_same(load_safetensors(path).at("a"), at::arange(1, 3, at::kLong), "padding '"s + padding + "'");
  }
}

TEST_F(Safetensors, RefusesTruncatedFiles) {
  save_safetensors({{"a", golden_values({3})}, {"b", golden_values({2}, at::kByte)}}, folder_ / "whole");
  const std::string whole = read_file(folder_ / "whole");
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_THROW(load_safetensors(file(whole.substr(0, size))), CheckpointError) << size;
  EXPECT_THROW(load_safetensors(file(whole + '\0')), CheckpointError);
  EXPECT_THROW(load_safetensors(folder_ / "missing"), CheckpointError);
  EXPECT_THROW(load_safetensors(folder_), CheckpointError);
}

TEST_F(Safetensors, RefusesGiantHeaders) {
  for (uint64_t length : {uint64_t{3}, uint64_t{100'000'001}, UINT64_MAX, UINT64_MAX - 7, uint64_t{1} << 63})
    expect_contains(refused("{}", "", length), "got one of " + std::to_string(length) + " bytes");
}

TEST_F(Safetensors, RefusesHeadersThatAreNoSuchJson) {
  for (const std::string& header :
       {""s, " {}"s, "["s, "[]"s, "{"s, "{}}"s, "{\"a\":}"s, "null"s, "{'a':1}"s, "{\"a\xff\":1}"s, "{\"\\ud800\":1}"s,
        R"({"a":1})"s, R"({"a":null})"s, R"({"a":[]})"s, R"({"__metadata__":[]})"s, R"({"__metadata__":{"a":1}})"s,
        "{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}", "{\"a\":" + std::string(100'000, '[')})
    EXPECT_THROW(load_safetensors(make(header)), CheckpointError) << header.substr(0, 50);
}

TEST_F(Safetensors, RefusesDuplicateKeys) {
  const std::string a = R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  EXPECT_EQ(load_safetensors(make("{" + a + "}")).size(), 1u);
  expect_contains(refused("{" + a + "," + a + "}"), "'a' twice");
  expect_contains(refused(R"({"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})"), "'dtype' twice");
  expect_contains(refused(R"({"__metadata__":{"k":"1","k":"2"}})"), "'k' twice");
}

TEST_F(Safetensors, RefusesEntriesOfTheWrongKind) {
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"a":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  const std::string data(16, '\0');
  EXPECT_EQ(load_safetensors(make(entry(R"("F32")", "[2,2]", "[0,16]"), data)).size(), 1u);
  for (const char* dtype : {R"("F31")", R"("f32")", R"("C64")", R"("F8_E4M3")", "7", "null", R"(["F32"])"})
    expect_contains(refused(entry(dtype, "[2,2]", "[0,16]"), data), std::string("got ") + dtype);
  for (const char* shape : {"[2]", "[2,2,2]", "[-2,-2]", "[2.0,2]", "[true,4]", "4", "null", "[\"4\"]", "[[4]]", "[]",
                            "[4294967296,4294967296]", "[9223372036854775807,2]", "[18446744073709551616]", "[0]",
                            "[18446744073709551615,4]", "[4611686018427387904,4611686018427387904]"})
    EXPECT_THROW(load_safetensors(make(entry(R"("F32")", shape, "[0,16]"), data)), CheckpointError) << shape;
  for (const char* offsets : {"[0,12]", "[4,16]", "[0,17]", "[16,0]", "[0]", "[0,16,16]", "[0.0,16]", "[-1,15]", "null",
                              "[0,18446744073709551615]", "[18446744073709551600,18446744073709551615]", "{\"0\":16}"})
    EXPECT_THROW(load_safetensors(make(entry(R"("F32")", "[2,2]", offsets), data)), CheckpointError) << offsets;
  expect_contains(refused(entry(R"("F32")", "[2,2]", R"([0,16],"extra":1)"), data), "other keys");
  EXPECT_THROW(load_safetensors(make(R"({"a":{"dtype":"F32","shape":[4]}})", data)), CheckpointError);
  // No memory at all, and yet strides that overflow.
  EXPECT_THROW(load_safetensors(make(entry(R"("F32")", "[0,4611686018427387904,4611686018427387904]", "[0,0]"))),
               CheckpointError);
  std::string dimensions = "1";
  for (int i = 0; i < 64; ++i) dimensions += ",1";
  EXPECT_THROW(load_safetensors(make(entry(R"("F32")", "[" + dimensions + "]", "[0,4]"), data.substr(0, 4))),
               CheckpointError);
}

TEST_F(Safetensors, RefusesOverlapsAndGaps) {
  const auto two = [](int a, int b, int c, int d) {
    return nlohmann::json{{"a", {{"dtype", "U8"}, {"shape", {b - a}}, {"data_offsets", {a, b}}}},
                          {"b", {{"dtype", "U8"}, {"shape", {d - c}}, {"data_offsets", {c, d}}}}}
        .dump();
  };
  const std::string data(8, '\0');
  EXPECT_EQ(load_safetensors(make(two(4, 8, 0, 4), data)).size(), 2u);
  expect_contains(refused(two(0, 4, 3, 8), data), "overlaps another");
  expect_contains(refused(two(0, 8, 0, 8), data), "overlaps another");
  expect_contains(refused(two(0, 3, 4, 8), data), "a gap");
  expect_contains(refused(two(1, 4, 4, 8), data), "a gap");
  expect_contains(refused(two(0, 4, 4, 7), data), "expected 7 bytes of data");
}

TEST_F(Safetensors, RefusesBooleansThatAreNeither) {
  const std::string header = R"({"a":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}})";
  EXPECT_EQ(load_safetensors(make(header, "\0\1\1"s)).size(), 1u);
  expect_contains(refused(header, "\0\1\2"s), "booleans of 0 and 1");
}

}  // namespace
}  // namespace readback::checkpoint
