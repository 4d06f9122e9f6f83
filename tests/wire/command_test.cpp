#include "readback/wire/command.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "readback/base/error.h"

namespace readback::wire {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using Words = std::vector<std::string>;

std::string python(const std::string& script) { return "command:python3 -c \"" + script + "\""; }

const std::string kEcho = R"(
import json, sys
for line in sys.stdin:
    question = json.loads(line)
    print(json.dumps({'id': question['id'], 'said': question['say']}), flush=True)
)";

TEST(Command, PartsItsWordsAsAShellDoes) {
  EXPECT_EQ(words_of("a  b\tc"), (Words{"a", "b", "c"}));
  EXPECT_EQ(words_of("'a b' \"c 'd\" e\\ f ''"), (Words{"a b", "c 'd", "e f", ""}));
  EXPECT_EQ(words_of("x$HOME;y|z*"), (Words{"x$HOME;y|z*"}));
  EXPECT_THROW(words_of("'a"), UsageError);
  EXPECT_THROW(words_of("  "), UsageError);
}

TEST(Command, AnswersManyLargeQuestionsWithoutBlocking) {
  Command command(python(kEcho), 60);
  const std::string filling(1 << 20, 'x');
  std::vector<ordered_json> questions;
  for (int i = 0; i < 8; ++i) questions.push_back({{"say", std::to_string(i) + filling}});
  for (int round = 0; round < 2; ++round) {
    const auto answers = command.ask(questions, {});
    for (size_t i = 0; i < 8; ++i) EXPECT_EQ(answers[i].value().at("said"), std::to_string(i) + filling);
  }
}

TEST(Command, AnswersMayComeInAnyOrderAndBeErrors) {
  Command command(python(R"(
import json, sys
lines = [json.loads(sys.stdin.readline()) for _ in range(3)]
for question in lines[::-1]:
    print(json.dumps({'id': question['id'], **question['say']}), flush=True)
)"),
                  60);
  const std::vector<ordered_json> questions = {
      {{"say", {{"a", 1}}}}, {{"say", {{"error", "too dark"}}}}, {{"say", {{"error", nullptr}}}}};
  const auto answers = command.ask(questions, {});
  EXPECT_EQ(answers[0].value().at("a"), 1);
  EXPECT_EQ(answers[1].failure(), "too dark");
  EXPECT_TRUE(answers[2].ok());
}

std::string message(const std::string& script, double seconds = 60) {
  Command command(script, seconds);
  const ordered_json question = {{"say", 1}};
  try {
    command.ask(std::span(&question, 1), {});
  } catch (const NetworkError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Command, SaysWhatTheProgramDoesWrong) {
  EXPECT_NE(message("command:true").find("ended after 0"), std::string::npos) << message("command:true");
  EXPECT_NE(message("command:cat /dev/null").find("ended after 0"), std::string::npos);
  EXPECT_NE(message("command:echo loading...").find("\"loading...\""), std::string::npos);
  EXPECT_NE(message(R"(command:echo {\"id\":7})").find("standard error"), std::string::npos);
  EXPECT_NE(message("command:sleep 30", 0.3).find("request_timeout"), std::string::npos);
  EXPECT_THROW(Command("command:/no/such/program", 1), NetworkError);
}

TEST(Command, AStopEndsTheWaiting) {
  Command command("command:sleep 30", 60);
  std::stop_source stop;
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    stop.request_stop();
  });
  const ordered_json question = {{"say", 1}};
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THROW(command.ask(std::span(&question, 1), Context(stop.get_token())), Interrupted);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  later.join();
}

}  // namespace
}  // namespace readback::wire
