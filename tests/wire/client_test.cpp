#include "readback/wire/client.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "tests/wire_server.h"

namespace readback::wire {
namespace {

namespace fs = std::filesystem;
using Seen = WireServer::Seen;
using Reply = WireServer::Reply;

// A cache of its own, and a key in the environment.
class Wire : public testing::Test {
 protected:
  static constexpr const char* kKey = "sk-hush/\"quoted\"+0123456789";
  Wire() {
    std::string name = (fs::temp_directory_path() / "readback-wire-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    ::setenv("READBACK_CACHE", folder_.c_str(), 1);
    ::setenv("READBACK_TEST_KEY", kKey, 1);
  }
  ~Wire() override {
    ::unsetenv("READBACK_CACHE");
    ::unsetenv("READBACK_TEST_KEY");
    fs::remove_all(folder_);
  }

  static WireOptions quick() {
    WireOptions options;
    options.retry_delay = 0;
    options.api_key_variable = "READBACK_TEST_KEY";
    return options;
  }
  static Endpoint endpoint(const WireServer& server) { return parse_endpoint("openai:" + server.url() + "/v1#m"); }
  static std::vector<Call> calls(int64_t count) {
    std::vector<Call> result;
    for (int64_t i = 0; i < count; ++i) {
      result.push_back({.path = "/echo", .body = nlohmann::json{{"question", i}}.dump(), .check = expect_json});
    }
    return result;
  }
  static void expect_json(const std::string& body) {
    if (nlohmann::json::parse(body, nullptr, false).is_discarded()) {
      throw DataError(describe("the answer", "JSON", "something else"));
    }
  }
  static std::string answer(const std::string& question) {
    return nlohmann::json{{"answer", nlohmann::json::parse(question).at("question")}}.dump();
  }
  static void expect_answers(const std::vector<Result<Answer>>& results) {
    for (size_t i = 0; i < results.size(); ++i) {
      ASSERT_TRUE(results[i]) << results[i].failure();
      EXPECT_EQ(nlohmann::json::parse(results[i].value().body).at("answer"), i);
    }
  }
  // All that lies in the cache.
  std::string everything() const {
    std::string text;
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
      text += entry.path().string() + "\n";
      if (entry.is_regular_file()) text += read_file(entry.path());
    }
    return text;
  }
  template <typename Work>
  static std::string message(const Work& work) {
    try {
      work();
    } catch (const NetworkError& error) {
      return error.what();
    }
    ADD_FAILURE() << "nothing was thrown";
    return "";
  }

  fs::path folder_;
};

TEST_F(Wire, SendsSeveralAtOnceAndNoneTwice) {
  const WireServer server([](const Seen& seen) { return Reply{.body = answer(seen.body), .delay = 0.05}; });
  Client client(endpoint(server), quick());
  std::vector<Call> twice = calls(12), more = calls(12);
  twice.insert(twice.end(), more.begin(), more.end());
  auto results = client.ask(twice, {});
  expect_answers({results.begin(), results.begin() + 12});
  expect_answers({results.begin() + 12, results.end()});
  EXPECT_EQ(server.seen().size(), 12);
  EXPECT_EQ(server.most_at_once(), 4);
  EXPECT_NE(server.seen()[0].headers.find("Authorization: Bearer " + std::string(kKey)), std::string::npos);
  EXPECT_EQ(server.seen()[0].path, "/v1/echo");
  // Another client, another day.
  Client later(endpoint(server), quick());
  expect_answers(later.ask(calls(12), {}));
  EXPECT_EQ(server.seen().size(), 12);
  EXPECT_EQ(later.spent().from_cache, 12);
  // Another model of the same server was never asked.
  Client other(parse_endpoint("openai:" + server.url() + "/v1#n"), quick());
  expect_answers(other.ask(calls(12), {}));
  EXPECT_EQ(server.seen().size(), 24);
  // And who wants none of it is asked anew.
  WireOptions fresh = quick();
  fresh.reuse_answers = false;
  Client anew(endpoint(server), fresh);
  expect_answers(anew.ask(calls(12), {}));
  EXPECT_EQ(server.seen().size(), 36);
}

TEST_F(Wire, ADamagedAnswerOfTheCacheIsAskedForAgain) {
  const WireServer server([](const Seen& seen) { return Reply{.body = answer(seen.body)}; });
  expect_answers(Client(endpoint(server), quick()).ask(calls(3), {}));
  int64_t damaged = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    if (!entry.is_regular_file()) continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(70);
    file.put('#');
    ++damaged;
  }
  EXPECT_EQ(damaged, 3);
  expect_answers(Client(endpoint(server), quick()).ask(calls(3), {}));
  EXPECT_EQ(server.seen().size(), 6);
}

// Each question of a large answer is cut at one tenth kilobyte after another until it comes whole.
TEST_F(Wire, AnswersThatAreCutComeWholeInTheEnd) {
  const std::string filling(100 << 10, 'x');
  const WireServer server([&](const Seen& seen) {
    Reply reply{.body =
                    nlohmann::json{{"answer", nlohmann::json::parse(seen.body).at("question")}, {"x", filling}}.dump()};
    const int64_t cut = seen.index * 10240;
    if (cut < std::ssize(reply.body)) reply.cut_after = cut;
    return reply;
  });
  WireOptions options = quick();
  options.max_retries = 20;
  Client client(endpoint(server), options);
  expect_answers(client.ask(calls(1), {}));
  EXPECT_EQ(server.seen().size(), 12);
  EXPECT_EQ(client.spent().repeated, 11);
  expect_answers(client.ask(calls(1), {}));
  EXPECT_EQ(server.seen().size(), 12);
}

// A cut at any byte of the body, by a server that tells no length, is seen by what the answer says.
TEST_F(Wire, AnAnswerThatIsNoJsonIsAskedForAgain) {
  const WireServer server([](const Seen& seen) {
    const std::string whole = answer(seen.body);
    return Reply{.body = seen.index % 3 == 2 ? whole : whole.substr(0, whole.size() / 2)};
  });
  expect_answers(Client(endpoint(server), quick()).ask(calls(5), {}));
  WireOptions impatient = quick();
  impatient.max_retries = 1;
  const WireServer never([](const Seen&) { return Reply{.body = "{\"answer\":"}; });
  const auto results = Client(endpoint(never), impatient).ask(calls(2), {});
  for (const auto& result : results) {
    ASSERT_FALSE(result);
    EXPECT_NE(result.failure().find("expected JSON"), std::string::npos) << result.failure();
    EXPECT_NE(result.failure().find("(2 times)"), std::string::npos) << result.failure();
  }
  EXPECT_EQ(never.seen().size(), 4);
}

TEST_F(Wire, FaultsOfTheServerPass) {
  for (const int status : {500, 502, 503, 504, 429, 408}) {
    const WireServer server([&](const Seen& seen) {
      if (seen.index % 2 == 0) return Reply{.status = status, .body = "{\"error\":\"busy\"}"};
      return Reply{.body = answer(seen.body)};
    });
    Client client(endpoint(server), quick());
    expect_answers(client.ask(calls(6), {}));
    EXPECT_EQ(client.spent().repeated, std::ssize(server.seen()) - 6);
    expect_answers(client.ask(calls(6), {}));
    fs::remove_all(folder_);
  }
}

TEST_F(Wire, WaitsAsLongAsTheServerAsks) {
  const WireServer server([](const Seen& seen) {
    if (seen.index == 0) return Reply{.status = 429, .body = "{}", .headers = {"Retry-After: 0.4"}};
    return Reply{.body = answer(seen.body)};
  });
  WireOptions options = quick();
  options.requests_at_once = 1;
  const auto start = std::chrono::steady_clock::now();
  expect_answers(Client(endpoint(server), options).ask(calls(3), {}));
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(400));
  EXPECT_EQ(server.seen().size(), 4);

  const WireServer closed([](const Seen&) { return Reply{.status = 503, .headers = {"Retry-After: 86400"}}; });
  const std::string said = message([&] { Client(endpoint(closed), quick()).ask(calls(1), {}); });
  EXPECT_NE(said.find("86400"), std::string::npos) << said;
}

TEST_F(Wire, KeepsItsPace) {
  const WireServer server([](const Seen& seen) { return Reply{.body = answer(seen.body)}; });
  WireOptions options = quick();
  options.requests_per_second = 20;
  const auto start = std::chrono::steady_clock::now();
  expect_answers(Client(endpoint(server), options).ask(calls(9), {}));
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(400));
}

TEST_F(Wire, TimeOutsEndWhatStandsStill) {
  const WireServer server([](const Seen& seen) {
    if (seen.index == 0) return Reply{.body = answer(seen.body), .delay = 30};
    if (seen.index == 1) return Reply{.body = answer(seen.body), .stand_still_after = 5};
    return Reply{.body = answer(seen.body)};
  });
  WireOptions options = quick();
  options.request_timeout = 0.5;
  options.idle_timeout = 0.2;
  options.requests_at_once = 1;
  const auto start = std::chrono::steady_clock::now();
  Client client(endpoint(server), options);
  expect_answers(client.ask(calls(1), {}));
  EXPECT_EQ(client.spent().repeated, 2);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));
}

TEST_F(Wire, AStopEndsItAtOnceAndTheRestIsAskedLater) {
  std::atomic<bool> slow = true;
  const WireServer server(
      [&](const Seen& seen) { return Reply{.body = answer(seen.body), .delay = slow && seen.index >= 3 ? 30.0 : 0}; });
  WireOptions options = quick();
  options.requests_at_once = 2;
  std::stop_source stop;
  std::thread later([&] {
    while (server.seen().size() < 5) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    stop.request_stop();
  });
  {
    Client client(endpoint(server), options);
    EXPECT_THROW(client.ask(calls(8), Context(stop.get_token())), Interrupted);
  }
  later.join();
  slow = false;
  Client client(endpoint(server), options);
  expect_answers(client.ask(calls(8), {}));
  EXPECT_EQ(client.spent().from_cache, 3);
  EXPECT_EQ(client.spent().requests, 5);
  EXPECT_EQ(client.spent().sent_before, 2);
  EXPECT_NE(client.sentence().find("2 requests were on their way"), std::string::npos) << client.sentence();
}

TEST_F(Wire, ABudgetEndsItAndKeepsWhatItBought) {
  const WireServer server([](const Seen& seen) { return Reply{.body = answer(seen.body)}; });
  WireOptions options = quick();
  options.max_requests = 5;
  EXPECT_NE(message([&] { Client(endpoint(server), options).ask(calls(8), {}); }).find("max_requests"),
            std::string::npos);
  EXPECT_EQ(server.seen().size(), 5);
  expect_answers(Client(endpoint(server), options).ask(calls(8), {}));
  EXPECT_EQ(server.seen().size(), 8);

  std::vector<Call> dear = calls(20);
  for (Call& call : dear) call.price = 0.1;
  WireOptions poor = quick();
  poor.max_cost = 0.3;
  Client client(endpoint(server), poor);
  const std::string said = message([&] { client.ask(dear, {}); });
  EXPECT_NE(said.find("max_cost"), std::string::npos) << said;
  EXPECT_EQ(server.seen().size(), 11);  // 8 were there, three more at a tenth
  EXPECT_NEAR(client.spent().cost, 0.3, 1e-12);
}

TEST_F(Wire, WhatTheServerRefusesCostsNothing) {
  const WireServer server([](const Seen& seen) {
    if (seen.index < 4) return Reply{.status = 500, .body = "{}"};
    return Reply{.body = answer(seen.body)};
  });
  std::vector<Call> dear = calls(2);
  for (Call& call : dear) call.price = 1;
  WireOptions options = quick();
  options.max_cost = 2;
  Client client(endpoint(server), options);
  expect_answers(client.ask(dear, {}));
  EXPECT_EQ(client.spent().cost, 2);
}

TEST_F(Wire, ARedirectElsewhereIsNotFollowed) {
  const WireServer thief([](const Seen&) { return Reply{.body = "{}"}; });
  for (const int status : {301, 302, 303, 307, 308}) {
    const WireServer server([&](const Seen&) {
      return Reply{.status = status, .headers = {"Location: " + thief.url() + "/v1/echo?key=" + kKey}};
    });
    const std::string said = message([&] { Client(endpoint(server), quick()).ask(calls(1), {}); });
    EXPECT_NE(said.find("redirect to " + thief.url()), std::string::npos) << said;
    EXPECT_EQ(said.find("hush"), std::string::npos) << said;
    EXPECT_EQ(server.seen().size(), 1);
  }
  EXPECT_TRUE(thief.seen().empty());
  const WireServer moved([](const Seen& seen) {
    if (seen.path == "/v1/echo") return Reply{.status = 307, .headers = {"Location: /v2/echo"}};
    return Reply{.body = answer(seen.body)};
  });
  expect_answers(Client(endpoint(moved), quick()).ask(calls(2), {}));
  EXPECT_EQ(moved.seen().size(), 4);
}

TEST_F(Wire, TheKeyIsInNoMessageAndNoFile) {
  const std::string echo = fmt::format(
      "you sent {} or {} or sk-hush\\/\\\"quoted\\\"+0123456789 or "
      "sk-hush%2F%22quoted%22%2B0123456789",
      kKey, nlohmann::json(kKey).dump());
  std::string said;
  for (const int status : {401, 403, 429, 500, 400, 402}) {
    const WireServer server([&](const Seen&) { return Reply{.status = status, .body = echo}; });
    WireOptions options = quick();
    options.max_retries = 1;
    Client client(endpoint(server), options);
    try {
      const auto results = client.ask(calls(1), {});
      said += results[0] ? results[0].value().body : results[0].failure();
    } catch (const NetworkError& error) {
      said += error.what();
    }
  }
  const WireServer server([&](const Seen&) {
    return Reply{.body = nlohmann::json{{"answer", 0}, {"heard", echo}}.dump()};
  });
  const auto results = Client(endpoint(server), quick()).ask(calls(1), {});
  said += results[0].value().body;
  EXPECT_NE(said.find("[key]"), std::string::npos);
  EXPECT_NE(said.find("READBACK_TEST_KEY"), std::string::npos) << said;  // but its variable is
  for (const char* part : {"hush", "quoted"}) {
    EXPECT_EQ(said.find(part), std::string::npos) << said;
    EXPECT_EQ(everything().find(part), std::string::npos);
  }
}

TEST_F(Wire, AKeyGoesUnencryptedOnlyWhenItIsNamed) {
  ::setenv("OPENAI_API_KEY", "sk-other", 1);
  const WireServer server([](const Seen& seen) { return Reply{.body = answer(seen.body)}; });
  WireOptions options = quick();
  options.api_key_variable = "";
  expect_answers(Client(endpoint(server), options).ask(calls(1), {}));
  ::unsetenv("OPENAI_API_KEY");
  EXPECT_EQ(server.seen()[0].headers.find("Authorization"), std::string::npos);
  options.api_key_variable = "READBACK_TEST_NO_KEY";
  EXPECT_THROW(Client(endpoint(server), options), UsageError);
  ::setenv("READBACK_TEST_NO_KEY", "two\r\nHost: lines", 1);
  EXPECT_THROW(Client(endpoint(server), options), UsageError);
  ::unsetenv("READBACK_TEST_NO_KEY");
}

TEST_F(Wire, NoServerIsAnErrorOfTheCall) {
  std::string gone;
  {
    gone = WireServer([](const Seen&) { return Reply{}; }).url();
  }
  WireOptions options = quick();
  options.max_retries = 2;
  Client client(parse_endpoint("openai:" + gone), options);
  const std::string said = message([&] { client.ask(calls(20), {}); });
  EXPECT_NE(said.find("a server that answers"), std::string::npos) << said;
  EXPECT_EQ(client.spent().cost, 0);
}

TEST_F(Wire, ARefusalIsHandedOnAndNotKept) {
  const WireServer server([](const Seen&) { return Reply{.status = 422, .body = "{\"detail\":\"no\"}"}; });
  Client client(endpoint(server), quick());
  for (int i = 0; i < 2; ++i) {
    const auto results = client.ask(calls(1), {});
    EXPECT_EQ(results[0].value().status, 422);
  }
  EXPECT_EQ(server.seen().size(), 2);
}

// What a run of 500 samples meets: every fault at once.
TEST_F(Wire, FiveHundredQuestionsAreAnsweredThroughEveryFault) {
  std::atomic<int64_t> whole = 0;
  const std::string filling(20000, 'y');
  const WireServer server([&](const Seen& seen) {
    const std::string body =
        nlohmann::json{{"answer", nlohmann::json::parse(seen.body).at("question")}, {"x", filling}}.dump();
    switch (seen.index * 2654435761 % 4294967296 >> 29) {  // one in eight each
      case 0:
        return Reply{.body = body, .cut_after = seen.index % 20000};
      case 1:
        return Reply{.status = 429, .body = "{}", .headers = {"Retry-After: 0"}};
      case 2:
        return Reply{.status = 429, .body = "{}"};
      case 3:
        return Reply{.status = 500, .body = "<html>"};
      case 4:
        return Reply{.body = body.substr(0, body.size() / 2)};
      default:
        ++whole;
        return Reply{.body = body};
    }
  });
  WireOptions options = quick();
  options.requests_at_once = 8;
  options.max_retries = 60;
  Client client(endpoint(server), options);
  expect_answers(client.ask(calls(500), {}));
  EXPECT_EQ(whole, 500);  // none that came whole was asked for again
  EXPECT_EQ(client.spent().requests, std::ssize(server.seen()));
}

}  // namespace
}  // namespace readback::wire
