// HTTP requests on their way, several at a time, by libcurl. What to do about the outcome is the caller's to say.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "readback/wire/options.h"

namespace readback::wire {

struct Outgoing {
  std::string url;
  std::vector<std::string> headers;  // "Name: value"
  std::string body;                  // sent by POST; empty: GET
  // Takes the body of a 2xx answer in pieces, in place of Incoming::body; false ends the transfer. Such an answer has no
  // request_timeout.
  std::function<bool(long status, std::string_view bytes)> sink = {};
};

enum class Outcome {
  kAnswered,     // with whatever status, all of it
  kUnreachable,  // no connection
  kRefused,      // a connection that is not safe
  kCut,          // the connection ended before the answer did
  kTimedOut,
};

struct Incoming {
  size_t id = 0;
  Outcome outcome = Outcome::kAnswered;
  std::string why;  // in words, unless answered
  long status = 0;
  std::string body;
  std::string retry_after, redirect;  // headers; redirect: as a whole address
};

class Transfers {
 public:
  explicit Transfers(const WireOptions& options);
  ~Transfers();

  void start(size_t id, Outgoing request);
  int64_t running() const;
  // What ended, after at most `most` of waiting.
  std::vector<Incoming> wait(std::chrono::milliseconds most);
  void abort();  // all that are on their way

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace readback::wire
