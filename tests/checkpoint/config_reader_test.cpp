#include "readback/checkpoint/config_reader.h"

#include "tests/checkpoint/testing.h"

namespace readback::checkpoint {
namespace {

using nlohmann::json;

ConfigReader reader(const char* text) { return {json::parse(text), "config.json"}; }

TEST(ConfigReader, GetsValuesOfEveryKind) {
  ConfigReader config = reader(R"({"i": -3, "f": 1e-5, "whole": 2, "b": true, "s": "gelu", "l": [1, 2], "ls": ["a"],
                                   "lb": [true, false], "o": {"x": [1]}, "n": null})");
  EXPECT_EQ(config.get<int64_t>("i", 0), -3);
  EXPECT_EQ(config.get<double>("f", 0), 1e-5);
  EXPECT_EQ(config.get<double>("whole", 0), 2.0);
  EXPECT_EQ(config.get<bool>("b", false), true);
  EXPECT_EQ(config.get<std::string>("s", ""), "gelu");
  EXPECT_EQ(config.get<std::vector<int64_t>>("l", {}), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(config.get<std::vector<std::string>>("ls", {}), (std::vector<std::string>{"a"}));
  EXPECT_EQ(config.get<std::vector<bool>>("lb", {}), (std::vector<bool>{true, false}));
  EXPECT_EQ(config.get<json>("o", {}), (json{{"x", {1}}}));
  EXPECT_EQ(config.get<int64_t>("n", 7), 7);
  EXPECT_EQ(config.get<int64_t>("absent", 8), 8);
  EXPECT_TRUE(config.has("i"));
  EXPECT_FALSE(config.has("n"));
  EXPECT_FALSE(config.has("absent"));
  EXPECT_NO_THROW(config.finish());
}

TEST(ConfigReader, RequireWantsAValue) {
  ConfigReader config = reader(R"({"a": 1, "n": null})");
  EXPECT_EQ(config.require<int64_t>("a"), 1);
  EXPECT_EQ(error_of<CheckpointError>([&] { config.require<int64_t>("n"); }),
            "config.json: expected the option 'n', got none");
  EXPECT_THROW(config.require<int64_t>("absent"), CheckpointError);
}

TEST(ConfigReader, RefusesValuesOfAnotherType) {
  ConfigReader config = reader(R"({"i": 3, "f": 2.5, "b": true, "s": "3", "l": [1, "2"], "big": 4294967296,
                                   "huge": 18446744073709551615, "minus": -1})");
  EXPECT_EQ(error_of<CheckpointError>([&] { config.get<int64_t>("f", 0); }),
            "config.json: 'f': expected a whole number in range, got 2.5");
  EXPECT_THROW(config.get<int64_t>("b", 0), CheckpointError);
  EXPECT_THROW(config.get<int64_t>("s", 0), CheckpointError);
  EXPECT_THROW(config.get<int64_t>("huge", 0), CheckpointError);
  EXPECT_THROW(config.get<int>("big", 0), CheckpointError);
  EXPECT_THROW(config.get<uint64_t>("minus", 0), CheckpointError);
  EXPECT_EQ(config.get<uint64_t>("huge", 0), UINT64_MAX);
  EXPECT_THROW(config.get<bool>("i", false), CheckpointError);
  EXPECT_THROW(config.get<double>("b", 0), CheckpointError);
  EXPECT_THROW(config.get<std::string>("i", ""), CheckpointError);
  EXPECT_THROW(config.get<std::vector<int64_t>>("l", {}), CheckpointError);
  EXPECT_THROW(config.get<std::vector<int64_t>>("i", {}), CheckpointError);
  EXPECT_THROW(reader("[1]"), CheckpointError);
}

TEST(ConfigReader, SectionsAreReadersOfTheirOwn) {
  ConfigReader config = reader(R"({"text_config": {"a": 1, "odd": 2}, "list": [1]})");
  ConfigReader text = config.section("text_config");
  EXPECT_EQ(text.get<int64_t>("a", 0), 1);
  expect_contains(error_of<CheckpointError>([&] { text.finish(); }), "config.json, section 'text_config'");
  EXPECT_TRUE(config.section("absent").raw().empty());
  EXPECT_THROW(config.section("list"), CheckpointError);
  EXPECT_NO_THROW(config.finish()) << "a section is known once it was asked for";
}

TEST(ConfigReader, ExpectTakesAllowedValuesOnly) {
  ConfigReader config = reader(R"({"act": "gelu", "groups": 32, "off": null})");
  EXPECT_NO_THROW(config.expect("act", {"quick_gelu", "gelu"}));
  EXPECT_NO_THROW(config.expect("groups", {32}));
  EXPECT_NO_THROW(config.expect("off", {false}));
  EXPECT_NO_THROW(config.expect("absent", {false}));
  EXPECT_NO_THROW(config.finish());
  const std::string message = error_of<CheckpointError>([&] { config.expect("act", {"silu", "relu"}); });
  expect_contains(message, R"(config.json: 'act': expected "silu" or "relu", got "gelu")");
}

TEST(ConfigReader, FinishListsEveryUnknownOption) {
  ConfigReader config = reader(R"({"known": 1, "ignored": 2, "odd": [1, 2], "strange": "x", "off": null,
                                   "_name_or_path": "a/b", "transformers_version": "5.23.0", "num_beams": 3,
                                   "id2label": {"0": "x"}, "_class_name": "UNet2DConditionModel", "pruned_heads": {}})");
  config.get<int64_t>("known", 0);
  config.ignore({"ignored"});
  const std::string message = error_of<CheckpointError>([&] { config.finish(); });
  expect_contains(message, R"(got 'odd' = [1,2], 'strange' = "x". An unknown option)");
  config.ignore({"odd", "strange"});
  EXPECT_NO_THROW(config.finish());
  EXPECT_THROW(reader(R"({"pruned_heads": {"0": [1]}})").finish(), CheckpointError) << "this removes weights";
  EXPECT_THROW(reader(R"({"quantization_config": {"bits": 4}})").finish(), CheckpointError);
}

}  // namespace
}  // namespace readback::checkpoint
