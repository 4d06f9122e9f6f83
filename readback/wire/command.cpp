#include "readback/wire/command.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <thread>

#include "readback/base/default_signals.h"
#include "readback/base/error.h"
#include "readback/wire/retry.h"

namespace readback::wire {

using nlohmann::json;
using nlohmann::ordered_json;

std::vector<std::string> words_of(const std::string& command) {
  std::vector<std::string> words;
  bool inside = false;
  char quote = 0;
  for (size_t i = 0; i < command.size(); ++i) {
    const char c = command[i];
    if (quote == 0 && (c == ' ' || c == '\t')) {
      inside = false;
      continue;
    }
    if (!inside) words.emplace_back();
    inside = true;
    if (c == quote) {
      quote = 0;
    } else if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
    } else if (c == '\\' && quote != '\'' && i + 1 < command.size()) {
      words.back() += command[++i];
    } else {
      words.back() += c;
    }
  }
  if (quote != 0) throw UsageError(describe(command, std::string("a second ") + quote, "its end"));
  if (words.empty()) throw UsageError(describe("command:", "a program and its arguments", "nothing"));
  return words;
}

struct Command::Child {
  explicit Child(const std::string& spec) : name(spec) {
    std::vector<std::string> words = words_of(spec.substr(spec.find(':') + 1));
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    int in[2], out[2];  // in: a pair of sockets, so that writing to a program that has ended raises no signal
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) != 0) fail(errno);
    if (::pipe2(out, O_CLOEXEC) != 0) {
      const int reason = errno;
      ::close(in[0]);
      ::close(in[1]);
      fail(reason);
    }
    input = in[0];
    output = out[0];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[1], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    const int reason =
        ::posix_spawnp(&id, arguments.front(), &actions, DefaultSignals().get(), arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(in[1]);
    ::close(out[1]);
    ::fcntl(input, F_SETFL, O_NONBLOCK);
    ::fcntl(output, F_SETFL, O_NONBLOCK);
    if (reason != 0) {
      id = -1;
      close();
      fail(reason);
    }
  }
  Child(const Child&) = delete;
  ~Child() {
    close();
    if (id < 0) return;
    for (int i = 0; i < 40; ++i) {  // two seconds to end by itself
      int status = 0;
      if (::waitpid(id, &status, WNOHANG) != 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    ::kill(id, SIGKILL);
    while (::waitpid(id, nullptr, 0) < 0 && errno == EINTR) continue;
  }
  void close() {
    ::close(input);
    ::close(output);
    input = output = -1;
  }

  [[noreturn]] void fail(int reason) const {
    throw NetworkError(describe(name, "a program that can be started", std::strerror(reason)));
  }

  // Sends of `text` what the program takes now.
  void send(std::string& text) const {
    while (!text.empty()) {
      const ssize_t count = ::send(input, text.data(), text.size(), MSG_NOSIGNAL);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && errno != EAGAIN) text.clear();  // it has ended, which its output tells
      if (count <= 0) return;
      text.erase(0, static_cast<size_t>(count));
    }
  }

  // The lines that are there. None, when the program's output has ended.
  std::optional<std::vector<std::string>> lines() {
    char buffer[65536];
    bool ended = false;
    for (;;) {
      const ssize_t count = ::read(output, buffer, sizeof buffer);
      if (count > 0) {
        begun.append(buffer, static_cast<size_t>(count));
        continue;
      }
      ended = count == 0;
      if (count < 0 && errno == EINTR) continue;
      break;
    }
    std::vector<std::string> result;
    size_t from = 0;
    for (size_t end = begun.find('\n'); end != std::string::npos; end = begun.find('\n', from)) {
      result.push_back(begun.substr(from, end - from));
      from = end + 1;
    }
    begun.erase(0, from);
    if (ended && result.empty()) return std::nullopt;
    return result;
  }

  std::string name;
  pid_t id = -1;
  int input = -1, output = -1;
  std::string begun;  // of a line that has not ended
};

Command::Command(const std::string& spec, double seconds)
    : spec_(spec), seconds_(seconds), child_(std::make_unique<Child>(spec)) {}
Command::~Command() = default;

std::vector<Result<json>> Command::ask(std::span<const ordered_json> questions, const Context& context) {
  std::string text;
  const int64_t first = next_id_;
  for (ordered_json question : questions) {
    question["id"] = next_id_++;
    text += question.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  }
  std::map<int64_t, Result<json>> answers;
  Clock::time_point last = Clock::now();
  while (std::ssize(answers) < std::ssize(questions)) {
    context.check();
    child_->send(text);
    pollfd entries[] = {{child_->output, POLLIN, 0},
                        {child_->input, static_cast<short>(text.empty() ? 0 : POLLOUT), 0}};
    ::poll(entries, 2, 50);
    const auto lines = child_->lines();
    if (!lines) {
      throw NetworkError(describe(spec_, std::to_string(questions.size()) + " answers",
                                  "a program that ended after " + std::to_string(answers.size()),
                                  "Its own messages say why"));
    }
    if (!lines->empty()) last = Clock::now();
    if (Clock::now() - last > Seconds(seconds_)) {
      throw NetworkError(describe(spec_, "an answer",
                                  "none for " + std::to_string(static_cast<int64_t>(seconds_)) + " s",
                                  "Give it more time with request_timeout"));
    }
    for (const std::string& line : *lines) {
      json answer = json::parse(line, nullptr, false);
      const json id = answer.is_object() ? answer.value("id", json()) : json();
      if (!id.is_number_integer() || id < first || id >= next_id_) {
        throw NetworkError(describe(spec_, "a line of JSON with the \"id\" of a question",
                                    "\"" + line.substr(0, 200) + "\"",
                                    "What it says for people belongs on standard error"));
      }
      const json error = answer.value("error", json());
      answers.insert_or_assign(id, error.is_null()
                                       ? Result<json>(std::move(answer))
                                       : Failure{error.is_string() ? error.get<std::string>() : error.dump()});
    }
  }
  std::vector<Result<json>> results;
  for (auto& [id, answer] : answers) results.push_back(std::move(answer));
  return results;
}

}  // namespace readback::wire
