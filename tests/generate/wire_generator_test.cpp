#include "readback/generate/wire_generator.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>

#include "readback/base/error.h"
#include "readback/generate/open.h"
#include "readback/image/codec.h"
#include "readback/wire/base64.h"
#include "tests/wire_server.h"

namespace readback::generate {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Seen = WireServer::Seen;
using Reply = WireServer::Reply;

// Draws pictures whose pixels hold the seed and the prompt's length, by all three protocols.
struct Server {
  bool honours_seeds = true;
  mutable std::atomic<int64_t> whim = 0;
  mutable std::mutex mutex;
  mutable std::map<std::string, std::pair<std::string, int>> jobs;  // picture, glances until it is done

  std::string draw(const json& body, int64_t width, int64_t height) const {
    image::Image image(width, height);
    const int64_t seed = honours_seeds ? body.value("seed", int64_t{0}) : 1000 + whim++;
    for (size_t i = 0; i < 8; ++i) image.pixels[i] = static_cast<uint8_t>(seed >> (8 * i));
    image.pixels[8] = static_cast<uint8_t>(body.at("prompt").get<std::string>().size());
    return wire::to_base64(image::encode_png(image));
  }

  Reply operator()(const Seen& seen) const {
    if (seen.path == "/v1/images/generations") {
      const json body = json::parse(seen.body);
      int64_t width = 16, height = 16;
      if (body.contains("size")) std::sscanf(body["size"].get<std::string>().c_str(), "%ldx%ld", &width, &height);
      return {.body = json{{"created", 1}, {"data", {{{"b64_json", draw(body, width, height)}}}}}.dump()};
    }
    if (seen.path == "/sdapi/v1/txt2img") {
      const json body = json::parse(seen.body);
      return {
          .body =
              json{{"images", {draw(body, body.value("width", 16), body.value("height", 16))}}, {"info", ""}}.dump()};
    }
    if (seen.path == "/sdcpp/v1/img_gen") {
      const json body = json::parse(seen.body);
      const std::lock_guard lock(mutex);
      const std::string id = "job_" + std::to_string(jobs.size());
      jobs[id] = {draw(body, body.value("width", 16), body.value("height", 16)), 2};
      return {.status = 202, .body = json{{"id", id}, {"status", "queued"}}.dump()};
    }
    if (seen.path.starts_with("/sdcpp/v1/jobs/")) {
      const std::lock_guard lock(mutex);
      const auto job = jobs.find(seen.path.substr(15));
      if (job == jobs.end()) return {.status = 404, .body = "{}"};
      if (job->second.second-- > 0) return {.body = json{{"id", job->first}, {"status", "generating"}}.dump()};
      return {.body = json{{"id", job->first},
                           {"status", "completed"},
                           {"result", {{"images", {{{"b64_json", job->second.first}}}}}}}
                          .dump()};
    }
    return {.status = 404, .body = "{}"};
  }
};

class WireGeneratorTest : public testing::Test {
 protected:
  WireGeneratorTest() {
    std::string name = (fs::temp_directory_path() / "readback-wire-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    ::setenv("READBACK_CACHE", folder_.c_str(), 1);
  }
  ~WireGeneratorTest() override {
    ::unsetenv("READBACK_CACHE");
    fs::remove_all(folder_);
  }
  static std::vector<Request> requests(int64_t count) {
    std::vector<Request> result;
    for (int64_t i = 0; i < count; ++i) {
      result.push_back({.prompt = std::string(static_cast<size_t>(i + 1), 'x'), .sample = "s", .candidate = i});
    }
    return result;
  }
  static std::unique_ptr<Generator> generator(const std::string& protocol, const WireServer& server,
                                              wire::WireOptions options = {}) {
    options.retry_delay = 0;
    return open(protocol + ":" + server.url() + (protocol == "openai" ? "/v1" : "") + "#m", Machine(), options);
  }
  static int64_t seed_in(const image::Image& image) {
    int64_t seed = 0;
    for (size_t i = 0; i < 8; ++i) seed |= static_cast<int64_t>(image.pixels[i]) << (8 * i);
    return seed;
  }

  fs::path folder_;
};

TEST_F(WireGeneratorTest, DrawsByEveryProtocol) {
  for (const std::string protocol : {"openai", "sdapi", "sdcpp"}) {
    Server behaviour;
    const WireServer server(std::ref(behaviour));
    const auto generator = this->generator(protocol, server);
    EXPECT_TRUE(generator->capabilities().honours_seeds) << protocol;
    EXPECT_EQ(generator->identity(), protocol + ":" + server.url() + (protocol == "openai" ? "/v1" : "") + "#m");
    const auto results = generator->generate(requests(5), {.height = 24, .width = 32, .seed = 3});
    std::set<int64_t> seeds;
    for (size_t i = 0; i < 5; ++i) {
      const Picture& picture = results[i].value();
      EXPECT_EQ(picture.image.width, 32);
      EXPECT_EQ(picture.image.height, 24);
      EXPECT_EQ(picture.image.pixels[8], i + 1);
      ASSERT_TRUE(picture.seed);
      EXPECT_EQ(static_cast<int64_t>(*picture.seed), seed_in(picture.image));
      seeds.insert(seed_in(picture.image));
    }
    EXPECT_EQ(seeds.size(), 5);
    const size_t asked = server.seen().size();
    EXPECT_EQ(this->generator(protocol, server)
                  ->generate(requests(5), {.height = 24, .width = 32, .seed = 3})[4]
                  .value()
                  .image,
              results[4].value().image);
    EXPECT_EQ(server.seen().size(), asked + 1) << protocol;
  }
}

TEST_F(WireGeneratorTest, SaysWhenSeedsAreNotHonoured) {
  Server behaviour;
  behaviour.honours_seeds = false;
  const WireServer server(std::ref(behaviour));
  const auto generator = this->generator("openai", server);
  EXPECT_FALSE(generator->capabilities().honours_seeds);
  EXPECT_FALSE(generator->generate(requests(1), {})[0].value().seed);
  // Where pictures cost something none is bought to know it.
  behaviour.honours_seeds = true;
  fs::remove_all(folder_);
  const size_t before = server.seen().size();
  const auto dear = this->generator("openai", server, {.picture_price = 0.04});
  EXPECT_EQ(server.seen().size(), before);
  EXPECT_FALSE(dear->capabilities().honours_seeds);
}

TEST_F(WireGeneratorTest, HalfAPictureIsAskedForAgain) {
  Server behaviour;
  const WireServer server([&](const Seen& seen) {
    Reply reply = behaviour(seen);
    if (reply.status != 200 || seen.index % 3 == 0) return reply;
    json answer = json::parse(reply.body);
    std::string& picture = answer["data"][0]["b64_json"].get_ref<std::string&>();
    picture = picture.substr(0, picture.size() / 8 * 4);
    return Reply{.body = answer.dump()};
  });
  const auto results = generator("openai", server)->generate(requests(6), {});
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(results[i].value().image.pixels[8], i + 1);
}

TEST_F(WireGeneratorTest, AJobThatIsLostOrFailsIsBegunAgain) {
  Server behaviour;
  std::atomic<int64_t> glances = 0;
  const WireServer server([&](const Seen& seen) {
    if (seen.path.starts_with("/sdcpp/v1/jobs/")) {
      switch (glances++ % 11) {
        case 1:
          return Reply{.status = 410, .body = "{}"};
        case 3:
          return Reply{.body = R"({"id":"j","status":"failed","error":{"message":"no memory"}})"};
        case 4:
          return Reply{.status = 500, .body = "{}"};
        default:
          break;
      }
    }
    return behaviour(seen);
  });
  const auto results = generator("sdcpp", server, {.max_retries = 30})->generate(requests(4), {});
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(results[i].value().image.pixels[8], i + 1);
}

TEST_F(WireGeneratorTest, RefusesWhatNoServerKnows) {
  Server behaviour;
  const WireServer server(std::ref(behaviour));
  const auto generator = this->generator("openai", server);
  EXPECT_NO_THROW(resolve({.num_inference_steps = 5}, *generator));
  EXPECT_THROW(generator->generate(requests(1), {.scheduler = "ddim"}), UsageError);
  EXPECT_THROW(generator->generate(requests(1), {.height = 32}), UsageError);
  EXPECT_THROW(generator->generate(requests(1), {.latents_only = true}), UsageError);
  auto varied = requests(1);
  varied[0].picture = image::Image(4, 4);
  EXPECT_THROW(generator->generate(varied, {}), UsageError);
}

TEST_F(WireGeneratorTest, APictureOfAnotherSizeIsAFailure) {
  Server behaviour;
  const WireServer server([&](const Seen& seen) {
    json body = seen.body.empty() ? json() : json::parse(seen.body);
    Seen other = seen;
    if (body.is_object()) body.erase("size"), other.body = body.dump();
    return behaviour(other);
  });
  const auto results = generator("openai", server)->generate(requests(1), {.height = 24, .width = 32});
  ASSERT_FALSE(results[0].ok());
  EXPECT_NE(results[0].failure().find("32x24"), std::string::npos) << results[0].failure();
}

}  // namespace
}  // namespace readback::generate
