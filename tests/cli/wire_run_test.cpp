// A whole run with both models behind a server that fails in every way, killed and begun again.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>

#include "program.h"
#include "readback/image/codec.h"
#include "readback/wire/base64.h"
#include "tests/wire_server.h"

namespace readback {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Seen = WireServer::Seen;
using Reply = WireServer::Reply;

constexpr const char* kKey = "sk-hush-0123456789abcdef";

class WireRun : public Cli {
 protected:
  // What a well-behaved server answers. It says the first pixel, and draws what it is told in that way.
  static std::string answer(const Seen& seen) {
    const json body = json::parse(seen.body);
    if (seen.path == "/v1/chat/completions") {
      const std::string url = body["messages"].back()["content"][0]["image_url"]["url"];
      const image::Image image =
          image::decode(*wire::from_base64(url.substr(url.find(',') + 1)), "sent", image::Alpha::kOnWhite);
      json choices = json::array();
      for (int64_t i = 0; i < body.value("n", 1); ++i) {
        const std::string text = fmt::format("shade {} {}", image.pixels[0], body.value("seed", int64_t{0}) % 7 + i);
        choices.push_back({{"message", {{"content", text}}}});
      }
      return json{{"choices", choices}}.dump();
    }
    const std::string prompt = body["prompt"];
    image::Image image(32, 32);
    for (size_t i = 0; i < image.pixels.size(); ++i) {
      image.pixels[i] = static_cast<uint8_t>(prompt.size() * 5 + body.value("seed", size_t{0}) % 11 + i);
    }
    return json{{"data", {{{"b64_json", wire::to_base64(image::encode_png(image))}}}}}.dump();
  }

  // The faults that docs/REMOTE.md names, each for one request in twelve, and the key in what is said.
  Reply misbehave(const Seen& seen) {
    if (seen.method == "GET") return {.status = 404, .body = fmt::format("{{\"error\":\"{}\"}}", kKey)};
    const std::string whole = answer(seen);
    switch (seen.index * 2654435761 % 4294967296 % 12) {
      case 0:
        return {.body = whole, .cut_after = seen.index * 97 % std::ssize(whole)};
      case 1:
        return {.status = 429, .body = kKey, .headers = {"Retry-After: 0"}};
      case 2:
        return {.status = 500, .body = fmt::format("<html>Bearer {}</html>", kKey)};
      case 3:
        return {.body = whole.substr(0, whole.size() / 2)};
      case 4:
        return {.body = "{\"data\":[{\"b64_json\":\"iVBORw0KGgo=\"}],\"choices\":[]}"};
      default:
        break;
    }
    const std::lock_guard lock(mutex_);
    whole_[seen.path + seen.body] += 1;
    return {.body = whole};
  }

  std::string command(const std::string& url, int samples, int retries = 100) const {
    return fmt::format(
        "run emoji-scenes --limit {} --num-candidates 1 --captioner openai:{}/v1#eye --generator openai:{}/v1#hand "
        "--metrics rouge-l --batch-size 64 --retry-delay 0 --max-retries {} --api-key-variable READBACK_TEST_KEY "
        "--output {}",
        samples, url, url, retries, path("run"));
  }

  std::mutex mutex_;
  std::map<std::string, int> whole_;  // how often each question was answered in full
};

TEST_F(WireRun, EverySampleIsAnsweredThroughFaultsAndKills) {
  ::setenv("READBACK_CACHE", path("cache").c_str(), 1);
  ::setenv("READBACK_TEST_KEY", kKey, 1);
  const WireServer server([&](const Seen& seen) { return misbehave(seen); });
  constexpr int kKills = 3, kAtOnce = 4;
  std::string said;
  int killed = 0;
  for (int i = 0; i < kKills; ++i) {
    const std::string program = fmt::format("timeout -s KILL {} {} {} 2>{} >{}", 4 + 2 * i, READBACK_PROGRAM,
                                            command(server.url(), 500), path("killed.err"), path("killed.out"));
    killed += WEXITSTATUS(std::system(program.c_str())) == 137;
    said += read_file(path("killed.err"));
  }
  EXPECT_GE(killed, 1);
  const Outcome last = run(command(server.url(), 500));
  said += last.err + last.out;
  ASSERT_EQ(last.status, 0) << last.err;

  int64_t twice = 0;
  for (const auto& [question, count] : whole_) twice += count - 1;
  EXPECT_LE(twice, kAtOnce * killed);  // those whose answer was on its way when the program was killed
  EXPECT_NE(last.err.find("requests, "), std::string::npos) << last.err;

  // Nothing is asked again, and the run is as it was.
  const size_t before = server.seen().size();
  EXPECT_EQ(run(command(server.url(), 500)).status, 0);
  EXPECT_LE(server.seen().size() - before, 2);  // which models there are
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    if (entry.is_regular_file()) {
      EXPECT_EQ(read_file(entry.path()).find("hush"), std::string::npos) << entry.path();
    }
  }
  EXPECT_EQ(said.find("hush"), std::string::npos) << said;
  ::unsetenv("READBACK_CACHE");
  ::unsetenv("READBACK_TEST_KEY");
}

TEST_F(WireRun, TheKeyIsInNoMessageWhenTheServerRefusesIt) {
  ::setenv("READBACK_CACHE", path("cache").c_str(), 1);
  ::setenv("READBACK_TEST_KEY", kKey, 1);
  for (const int status : {400, 401, 403, 404, 429, 500}) {
    const WireServer server([&](const Seen& seen) {
      return Reply{.status = status, .body = json{{"error", {{"message", "bad key " + seen.headers}}}}.dump()};
    });
    const Outcome outcome = run(command(server.url(), 2, 1));
    EXPECT_EQ(outcome.status, 1) << outcome.err;
    EXPECT_EQ(outcome.err.find("hush"), std::string::npos) << outcome.err;
  }
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    if (entry.is_regular_file()) {
      EXPECT_EQ(read_file(entry.path()).find("hush"), std::string::npos) << entry.path();
    }
  }
  ::unsetenv("READBACK_CACHE");
  ::unsetenv("READBACK_TEST_KEY");
}

TEST_F(WireRun, SaysWhatItWillCostAndStopsAtTheBudget) {
  ::setenv("READBACK_CACHE", path("cache").c_str(), 1);
  const WireServer server(
      [&](const Seen& seen) { return seen.method == "GET" ? Reply{.status = 404} : Reply{.body = answer(seen)}; });
  const std::string arguments = fmt::format(
      "run emoji-scenes --limit 6 --num-candidates 1 --captioner openai:{}/v1#eye --generator openai:{}/v1#hand "
      "--metrics rouge-l --picture-price 0.04 --max-cost 0.2 --output {}",
      server.url(), server.url(), path("run"));
  Outcome outcome = run(arguments);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("i2t2i: estimate: at most 6 requests"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("cost 0.24"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("max_cost"), std::string::npos) << outcome.err;
  const auto pictures = [&] {
    return std::ranges::count(server.seen(), std::string("/v1/images/generations"), &Seen::path);
  };
  EXPECT_EQ(pictures(), 5);
  for (int i = 0; i < 2; ++i) outcome = run(arguments);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(pictures(), 12);
  ::unsetenv("READBACK_CACHE");
}

}  // namespace
}  // namespace readback
