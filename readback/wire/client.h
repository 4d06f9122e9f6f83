// One client for everything that is asked over HTTP: several requests at once, repeated when they fail, at a pace,
// within a budget, and none twice that came whole.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/result.h"
#include "readback/wire/endpoint.h"
#include "readback/wire/options.h"

namespace readback::wire {

struct Call {
  std::string path;      // behind the endpoint's URL: "/chat/completions"
  std::string body;      // JSON, sent by POST; empty: GET
  std::string identity;  // what must be equal for the answer to be, the endpoint and path apart; empty: the body
  double price = 0;      // of the answer
  bool keep = true;      // in the cache, so that it is not asked for again
  // Throws DataError where the body of a 2xx answer is not whole; it is then asked for again.
  std::function<void(const std::string& body)> check = [](const std::string&) {};
  // Where to ask on, behind the endpoint's URL, while a 2xx answer says that the work is not done yet; "" when it is.
  // These questions are not counted. Throws DataError when the work has failed; it is then asked for again.
  std::function<std::string(const std::string& body)> next = {};
};

struct Answer {
  long status = 200;  // 2xx, or what the server refuses for good: 400, 404, 422, …
  std::string body;
};

// Since the client was made.
struct Spent {
  int64_t requests = 0;  // sent, repeated ones counted
  int64_t repeated = 0;  // of these, after a failure
  int64_t from_cache = 0;
  int64_t sent_before = 0;  // by an earlier process that ended before a whole answer came
  double cost = 0;
};

// May be used by one thread at a time.
class Client {
 public:
  // Takes the key from the environment. Errors: UsageError.
  Client(Endpoint endpoint, const WireOptions& options);
  ~Client();

  // One result a call, in their order. Equal calls are sent once. A failure: what concerns this call, after all
  // repetitions: a cut or late answer, a server's fault (5xx), a body that check() refuses.
  // Errors: NetworkError for what concerns all calls (no connection, no right of access, too many requests, a redirect
  // to another host, the budget), when what is on its way has come; Interrupted at once; StoreError of the cache.
  std::vector<Result<Answer>> ask(std::span<const Call> calls, const Context& context);

  const Endpoint& endpoint() const;
  const Spent& spent() const;
  // What so many requests will be, for people.
  std::string estimate(int64_t requests, double cost) const;
  std::string sentence() const;  // what was spent, for people; empty before the first request

 private:
  class Session;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace readback::wire
