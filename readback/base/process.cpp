#include "readback/base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>
#include <thread>

#include "readback/base/default_signals.h"
#include "readback/base/error.h"

namespace readback {

namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kKeptErrors = 64 << 10;
constexpr int kPollMilliseconds = 50;

[[noreturn]] void fail(const std::string& program, int reason) {
  throw DataError(describe(program, "a program that can be started", std::strerror(reason)));
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> environment_with(const std::vector<std::string>& more) {
  const auto name = [](std::string_view entry) { return entry.substr(0, entry.find('=')); };
  std::vector<std::string> result = more;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const auto same = [&](const std::string& own) { return name(own) == name(*entry); };
    if (std::none_of(more.begin(), more.end(), same)) result.emplace_back(*entry);
  }
  return result;
}

// Kills and reaps what has not been waited for, whichever way its owner is left.
class Child {
 public:
  Child(const ProcessRequest& request, int errors) : program_(request.arguments.front()) {
    std::vector<std::string> arguments = request.arguments, environment = environment_with(request.environment);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
    const int reason = ::posix_spawnp(&id_, arguments.front().c_str(), &actions, DefaultSignals().get(),
                                      pointers(arguments).data(), pointers(environment).data());
    posix_spawn_file_actions_destroy(&actions);
    if (reason != 0) {
      id_ = -1;
      fail(request.arguments.front(), reason);
    }
  }
  Child(const Child&) = delete;
  ~Child() {
    if (id_ < 0) return;
    kill();
    while (::waitpid(id_, &status_, 0) < 0 && errno == EINTR) continue;
  }

  void kill() { ::kill(id_, SIGKILL); }

  bool ended() {
    const pid_t ended = ::waitpid(id_, &status_, WNOHANG);
    if (ended == 0 || (ended < 0 && errno == EINTR)) return false;
    id_ = -1;  // from now on the number may be another process's
    if (ended < 0) {
      throw DataError(describe(program_, "a program whose exit status can be waited for",
                               "one that ended without a status",
                               "This process ignores SIGCHLD or waits for children that it did not start; let it "
                               "leave them to readback"));
    }
    return true;
  }

  int status() const { return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_); }

 private:
  std::string program_;
  pid_t id_ = -1;
  int status_ = 0;
};

class Pipe {
 public:
  explicit Pipe(const std::string& program) {
    if (::pipe2(ends_, O_CLOEXEC) != 0) fail(program, errno);
    ::fcntl(ends_[0], F_SETFL, O_NONBLOCK);
  }
  Pipe(const Pipe&) = delete;
  ~Pipe() {
    ::close(ends_[0]);
    close_writer();
  }
  int writer() const { return ends_[1]; }
  void close_writer() {
    if (ends_[1] >= 0) ::close(ends_[1]);
    ends_[1] = -1;
  }

  // Appends what is there to `text`, of which it keeps the end. Returns whether anything more can come.
  bool read(std::string& text) {
    char buffer[4096];
    for (;;) {
      const ssize_t count = ::read(ends_[0], buffer, sizeof buffer);
      if (count == 0) return false;
      if (count < 0) return errno == EAGAIN || errno == EINTR;
      text.append(buffer, static_cast<size_t>(count));
      if (text.size() > 2 * kKeptErrors) text.erase(0, text.size() - kKeptErrors);
    }
  }

  void wait(int milliseconds) {
    pollfd entry{ends_[0], POLLIN, 0};
    ::poll(&entry, 1, milliseconds);
  }

 private:
  int ends_[2] = {-1, -1};
};

}  // namespace

ProcessResult run_process(const ProcessRequest& request, const Context& context) {
  context.check();
  const auto start = Clock::now();
  Pipe errors(request.arguments.front());
  Child child(request, errors.writer());
  errors.close_writer();
  ProcessResult result;
  // The end of the child counts, not that of its standard error, which a process that it started may keep open.
  for (bool open = true; !child.ended();) {
    context.check();
    if (!result.timed_out && request.timeout.count() > 0 && Clock::now() - start > request.timeout) {
      result.timed_out = true;
      child.kill();
    }
    if (open) {
      errors.wait(kPollMilliseconds);
      open = errors.read(result.errors);
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  context.check();  // the terminal sends Ctrl-C to the child too
  errors.read(result.errors);
  if (result.errors.size() > kKeptErrors) result.errors.erase(0, result.errors.size() - kKeptErrors);
  result.status = child.status();
  return result;
}

}  // namespace readback
