#include "readback/caption/chat_captioner.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "readback/base/error.h"
#include "readback/caption/open.h"
#include "readback/image/codec.h"
#include "readback/wire/base64.h"
#include "tests/wire_server.h"

namespace readback::caption {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Seen = WireServer::Seen;
using Reply = WireServer::Reply;

// A server's captioner says a picture's first pixel and what it drew by its seed.
struct Server {
  bool knows_n = true, honours_seeds = true, logprobs = true;
  std::set<std::string> refuses;
  mutable std::atomic<int64_t> whim = 0;

  Reply operator()(const Seen& seen) const {
    if (seen.method == "GET") return {.body = R"({"data":[{"id":"m","root":"weights","created":1}]})"};
    const json body = json::parse(seen.body);
    for (const std::string& field : refuses) {
      if (body.contains(field)) {
        return {.status = 400, .body = json{{"error", {{"message", "Unknown parameter: '" + field + "'."}}}}.dump()};
      }
    }
    const std::string url = body["messages"].back()["content"][0]["image_url"]["url"];
    const image::Image image =
        image::decode(*wire::from_base64(url.substr(url.find(',') + 1)), "sent", image::Alpha::kOnWhite);
    json choices = json::array();
    for (int64_t i = 0; i < (knows_n ? body.value("n", 1) : 1); ++i) {
      std::string text = " shade " + std::to_string(image.pixels.at(0));
      if (body.at("temperature") > 0) {
        text += " draw " + std::to_string(honours_seeds ? body.value("seed", int64_t{0}) + i : whim++);
      }
      json choice = {{"message", {{"role", "assistant"}, {"content", text + "\n"}}}, {"finish_reason", "stop"}};
      if (logprobs && body.value("logprobs", false)) {
        choice["logprobs"]["content"] = {{{"logprob", -0.25}}, {{"logprob", -0.5}}};
        if (body.contains("top_logprobs")) {  // yes by 0.7 of what is shown darkly, in two spellings
          const double yes = image.pixels.at(0) < 100 ? 0.7 : 0.1;
          choice["logprobs"]["content"][0]["top_logprobs"] = {{{"token", "Yes"}, {"logprob", std::log(yes - 0.05)}},
                                                              {{"token", "No"}, {"logprob", std::log(1 - yes)}},
                                                              {{"token", " yes"}, {"logprob", std::log(0.05)}}};
        }
      }
      choices.push_back(choice);
    }
    return {.body = json{{"choices", choices}}.dump()};
  }
};

class ChatCaptionerTest : public testing::Test {
 protected:
  ChatCaptionerTest() {
    std::string name = (fs::temp_directory_path() / "readback-chat-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    ::setenv("READBACK_CACHE", folder_.c_str(), 1);
  }
  ~ChatCaptionerTest() override {
    ::unsetenv("READBACK_CACHE");
    fs::remove_all(folder_);
  }
  static image::Image grey(uint8_t shade) {
    image::Image image(8, 8);
    for (uint8_t& value : image.pixels) value = shade;
    return image;
  }
  static std::vector<Request> requests(int count) {
    std::vector<Request> result;
    for (int i = 0; i < count; ++i) {
      result.push_back({.image = grey(static_cast<uint8_t>(i)), .sample = "s" + std::to_string(i)});
    }
    return result;
  }
  static std::unique_ptr<Captioner> captioner(const WireServer& server) {
    return open("openai:" + server.url() + "/v1#m", Machine(), {.retry_delay = 0});
  }
  static std::vector<std::string> texts(const Result<std::vector<Caption>>& result) {
    std::vector<std::string> texts;
    for (const Caption& caption : result.value()) texts.push_back(caption.text);
    return texts;
  }

  fs::path folder_;
};

TEST_F(ChatCaptionerTest, CaptionsAndSaysWhatItCan) {
  Server behaviour;
  const WireServer server(std::ref(behaviour));
  const auto captioner = this->captioner(server);
  EXPECT_EQ(captioner->identity(), "openai:" + server.url() + "/v1#m");
  EXPECT_TRUE(captioner->capabilities().honours_seeds);
  EXPECT_TRUE(captioner->capabilities().log_probabilities);
  EXPECT_TRUE(captioner->capabilities().examples);
  const auto results = captioner->caption(requests(3), {});
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(texts(results[i]), std::vector{"shade " + std::to_string(i)});
  EXPECT_EQ(results[0].value()[0].log_probability, -0.75);
  const json sent = json::parse(server.seen().back().body);
  EXPECT_EQ(sent["model"], "m");
  EXPECT_EQ(sent["temperature"], 0);
  EXPECT_EQ(sent["messages"][0]["content"][1]["text"], "Describe the image in one sentence.");
  EXPECT_FALSE(sent.contains("seed") || sent.contains("n") || sent.contains("num_beams"));
}

TEST_F(ChatCaptionerTest, SeveralCaptionsComeByOneRequestOrByMany) {
  Server behaviour;
  for (const bool knows : {true, false}) {
    behaviour.knows_n = knows;
    const WireServer server(std::ref(behaviour));
    const auto captioner = this->captioner(server);
    const auto before = server.seen().size();
    const auto results = captioner->caption(requests(2), {.num_captions = 4, .do_sample = true, .seed = 5});
    EXPECT_EQ(server.seen().size() - before, knows ? 2 : 8);
    std::set<std::string> different;
    for (const auto& result : results) {
      const auto list = texts(result);
      ASSERT_EQ(list.size(), 4);
      different.insert(list.begin(), list.end());
    }
    EXPECT_EQ(different.size(), 8);
    // The same seed, the same captions, without asking; another seed, others.
    const auto again = this->captioner(server)->caption(requests(2), {.num_captions = 4, .do_sample = true, .seed = 5});
    EXPECT_EQ(texts(again[0]), texts(results[0]));
    EXPECT_EQ(server.seen().size() - before, (knows ? 2 : 8) + 1);  // which models there are is asked each time
    const auto other = captioner->caption(requests(2), {.num_captions = 4, .do_sample = true, .seed = 6});
    EXPECT_NE(texts(other[0]), texts(results[0]));
    if (knows) {
      EXPECT_EQ(captioner->caption(requests(1), {.num_captions = 2, .num_beams = 3})[0].value().size(), 2);
    } else {
      EXPECT_THROW(captioner->caption(requests(1), {.num_captions = 2}), UsageError);
    }
  }
}

TEST_F(ChatCaptionerTest, SaysWhenSeedsAreNotHonoured) {
  Server behaviour;
  behaviour.honours_seeds = false;
  behaviour.logprobs = false;
  const WireServer server(std::ref(behaviour));
  const auto captioner = this->captioner(server);
  EXPECT_FALSE(captioner->capabilities().honours_seeds);
  EXPECT_FALSE(captioner->capabilities().log_probabilities);
  // An answer that was given stays: it was paid for.
  const auto first = captioner->caption(requests(1), {.num_captions = 3, .do_sample = true});
  const auto again = captioner->caption(requests(1), {.num_captions = 3, .do_sample = true});
  EXPECT_EQ(texts(first[0]), texts(again[0]));
}

struct Warnings : Progress {
  void warn(const std::string& message) override { all.push_back(message); }
  std::vector<std::string> all;
};

TEST_F(ChatCaptionerTest, DoesWithoutWhatTheServerRefuses) {
  Server behaviour;
  behaviour.refuses = {"n", "logprobs", "seed", "top_k", "max_tokens", "num_beams", "length_penalty"};
  const WireServer server(std::ref(behaviour));
  const auto captioner = this->captioner(server);
  EXPECT_FALSE(captioner->capabilities().honours_seeds);
  Warnings warnings;
  auto results =
      captioner->caption(requests(3), {.num_captions = 2, .do_sample = true, .top_k = 50}, Context(warnings));
  for (const auto& result : results) EXPECT_EQ(result.value().size(), 2);
  ASSERT_EQ(warnings.all.size(), 1);  // the others showed when it was opened
  EXPECT_NE(warnings.all[0].find("top_k"), std::string::npos) << warnings.all[0];
  const json sent = json::parse(server.seen().back().body);
  EXPECT_EQ(sent["max_completion_tokens"], 64);
  EXPECT_FALSE(sent.contains("max_tokens") || sent.contains("top_k"));
  results = captioner->caption(requests(2), {.num_beams = 3}, Context(warnings));
  EXPECT_EQ(texts(results[1]), std::vector<std::string>{"shade 1"});
  EXPECT_EQ(warnings.all.size(), 3);
}

TEST_F(ChatCaptionerTest, JudgesByTheProbabilityOfAnAnswer) {
  Server knowing;
  const WireServer server(std::ref(knowing));
  ChatCaptioner judge("openai:" + server.url() + "#m", {});
  EXPECT_TRUE(judge.capabilities().answers);
  const image::Image dark = grey(10), light = grey(200);
  const std::vector<const image::Image*> images = {&dark, &light};
  const std::vector<std::string> questions = {"Is it dark?", "Is it dark?"};
  const auto results = judge.answer_probabilities(images, questions, "Yes", {});
  ASSERT_EQ(results.size(), 2u);
  EXPECT_NEAR(results[0].value(), 0.7, 1e-9);
  EXPECT_NEAR(results[1].value(), 0.1, 1e-9);
  const json asked = json::parse(server.seen().back().body);
  EXPECT_EQ(asked["max_tokens"], 1);
  EXPECT_EQ(asked["messages"][0]["content"][1]["text"], "Is it dark?");

  Server silent;
  silent.logprobs = false;
  const WireServer other(std::ref(silent));
  ChatCaptioner none("openai:" + other.url() + "#m", {});
  EXPECT_FALSE(none.capabilities().answers);
  EXPECT_FALSE(none.answer_probabilities(images, questions, "Yes", {})[0].ok());
}

TEST_F(ChatCaptionerTest, ExamplesAreATalkThatWentBefore) {
  Server behaviour;
  const WireServer server(std::ref(behaviour));
  auto list = requests(1);
  list[0].examples = {grey(100), "a dark shade", grey(200), "a light shade"};
  list[0].prompt = "Which shade?";
  EXPECT_EQ(texts(captioner(server)->caption(list, {})[0]), std::vector<std::string>{"shade 0"});
  const json messages = json::parse(server.seen().back().body)["messages"];
  ASSERT_EQ(messages.size(), 5);
  for (const size_t i : {0, 2, 4}) {
    EXPECT_EQ(messages[i]["role"], "user");
    EXPECT_EQ(messages[i]["content"][1]["text"], "Which shade?");
  }
  EXPECT_EQ(messages[1], json({{"role", "assistant"}, {"content", "a dark shade"}}));
  EXPECT_EQ(messages[3]["content"], "a light shade");
}

TEST_F(ChatCaptionerTest, AFailureCostsItsRequest) {
  Server behaviour;
  const WireServer server([&](const Seen& seen) {
    Reply reply = behaviour(seen);
    if (reply.body.find("shade 1\\n") == std::string::npos) return reply;
    return Reply{.status = 400, .body = R"({"error":{"message":"this picture is not allowed"}})"};
  });
  const auto results = captioner(server)->caption(requests(3), {});
  EXPECT_TRUE(results[0].ok() && results[2].ok());
  ASSERT_FALSE(results[1].ok());
  EXPECT_NE(results[1].failure().find("this picture is not allowed"), std::string::npos) << results[1].failure();
}

TEST_F(ChatCaptionerTest, RefusesWhatItCannotSay) {
  Server behaviour;
  const WireServer server(std::ref(behaviour));
  const auto captioner = this->captioner(server);
  EXPECT_THROW(captioner->caption(requests(1), {.max_length = 20}), UsageError);
  EXPECT_THROW(captioner->caption(requests(1), {.min_length = 20}), UsageError);
  const WireServer other([](const Seen&) { return Reply{.status = 404, .body = "{\"error\":\"model not found\"}"}; });
  EXPECT_THROW(this->captioner(other), NetworkError);
}

// The model behind an address may be another one tomorrow.
TEST_F(ChatCaptionerTest, AnswersOfAnotherModelOfThatNameAreNotTaken) {
  Server behaviour;
  std::atomic<bool> other = false;
  const WireServer server([&](const Seen& seen) {
    if (seen.method == "GET" && other) return Reply{.body = R"({"data":[{"id":"m","root":"other weights"}]})"};
    return behaviour(seen);
  });
  captioner(server)->caption(requests(2), {});
  const size_t once = server.seen().size();
  captioner(server)->caption(requests(2), {});
  EXPECT_EQ(server.seen().size(), once + 1);
  other = true;
  captioner(server)->caption(requests(2), {});
  EXPECT_EQ(server.seen().size(), once + 1 + once);
}

}  // namespace
}  // namespace readback::caption
