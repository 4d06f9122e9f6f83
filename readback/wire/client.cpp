#include "readback/wire/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <map>

#include "readback/base/cache.h"
#include "readback/base/error.h"
#include "readback/base/sha256.h"
#include "readback/wire/answers.h"
#include "readback/wire/retry.h"
#include "readback/wire/secret.h"
#include "readback/wire/transfers.h"

namespace readback::wire {

namespace {

constexpr auto kGlance = std::chrono::milliseconds(50);  // how often a stop is looked for
constexpr Seconds kLongestPause(3600);
constexpr int kMostRedirects = 5;

// The beginning of what a server says.
std::string excerpt(const std::string& body) {
  constexpr size_t kMost = 300;
  std::string text;
  for (const char c : body.substr(0, kMost)) text += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  return text + (body.size() > kMost ? " …" : "");
}

Secret key_for(const Endpoint& endpoint, const WireOptions& options) {
  if (!options.api_key_variable.empty()) {
    Secret key = Secret::from_environment(options.api_key_variable);
    if (!key.empty()) return key;
    throw UsageError(describe("api_key_variable", "an environment variable that holds a key",
                              options.api_key_variable + ", which is not set"));
  }
  return is_encrypted(endpoint.url) ? Secret::from_environment("OPENAI_API_KEY") : Secret();
}

}  // namespace

struct Client::State {
  State(Endpoint endpoint_, const WireOptions& options_)
      : endpoint(std::move(endpoint_)),
        options(options_),
        key(key_for(endpoint, options)),
        transfers(options),
        answers(cache_folder() / "answers"),
        backoff(options.retry_delay),
        pace(options.requests_per_second) {}

  Endpoint endpoint;
  WireOptions options;
  Secret key;
  Transfers transfers;
  Answers answers;
  Backoff backoff;
  Pace pace;
  Spent spent;
};

// The calls of one ask().
class Client::Session {
 public:
  Session(State& state, std::span<const Call> calls, const Context& context) : state_(state), context_(context) {
    for (const Call& call : calls) {
      jobs_.push_back({.call = &call, .url = state_.endpoint.url + call.path, .key = key_of(call)});
    }
  }
  ~Session() { state_.transfers.abort(); }

  std::vector<Result<Answer>> run() {
    std::map<std::string, size_t> first;  // of equal calls
    for (size_t i = 0; i < jobs_.size(); ++i) {
      const auto [place, is_new] = first.try_emplace(jobs_[i].key, i);
      if (!is_new || find(jobs_[i])) continue;
      waiting_.push_back(i);
    }
    while (!waiting_.empty() || state_.transfers.running() > 0) {
      context_.check();
      start();
      if (ending_ && state_.transfers.running() == 0) break;
      for (Incoming& incoming : state_.transfers.wait(kGlance)) settle(std::move(incoming));
    }
    if (ending_) std::rethrow_exception(ending_);
    std::vector<Result<Answer>> results;
    for (const Job& job : jobs_) results.push_back(*jobs_[first.at(job.key)].result);
    return results;
  }

 private:
  struct Job {
    const Call* call;
    std::string url;  // where it is now sent to
    std::string key;
    int64_t attempts = 0;
    int redirects = 0;
    int64_t glances = 0;   // how often it was asked whether the work is done
    bool watches = false;  // and is again
    Clock::time_point ready = Clock::time_point::min();
    std::optional<Result<Answer>> result = {};
  };

  std::string key_of(const Call& call) const {
    const std::string& what = call.identity.empty() ? call.body : call.identity;
    return sha256_hex(state_.endpoint.spec() + "\n" + call.path + "\n" + what);
  }
  bool caches(const Job& job) const { return job.call->keep; }

  bool find(Job& job) {
    if (!caches(job) || !state_.options.reuse_answers) return false;
    const std::optional<std::string> kept = state_.answers.find(job.key);
    if (!kept) return false;
    state_.spent.from_cache += 1;
    job.result = Answer{200, *kept};
    return true;
  }

  // As many of those that are ready as the limits allow.
  void start() {
    const Clock::time_point now = Clock::now();
    for (auto next = waiting_.begin(); next != waiting_.end() && !ending_;) {
      Job& job = jobs_[*next];
      if (state_.transfers.running() >= state_.options.requests_at_once || state_.pace.next() > now) return;
      if (job.ready > now) {
        ++next;
        continue;
      }
      if (!job.watches && over_budget(*job.call)) return;
      if (caches(job) && state_.answers.send(job.key) && job.attempts == 0 && !job.watches)
        state_.spent.sent_before += 1;
      Outgoing request{job.url, {"Accept: application/json"}, job.watches ? "" : job.call->body};
      if (!request.body.empty()) request.headers.push_back("Content-Type: application/json");
      if (!state_.key.empty()) request.headers.push_back(state_.key.header());
      state_.transfers.start(*next, std::move(request));
      if (!job.watches) {
        state_.pace.started(now);
        state_.spent.requests += 1;
        state_.spent.cost += job.call->price;
      }
      next = waiting_.erase(next);
    }
  }

  bool over_budget(const Call& call) {
    const WireOptions& options = state_.options;
    constexpr const char* kNext = "What was answered is kept and is not asked for again";
    if (options.max_requests && state_.spent.requests >= *options.max_requests) {
      end(NetworkError(describe(where(), fmt::format("at most {} requests (max_requests)", *options.max_requests),
                                "more to ask", kNext)));
    } else if (options.max_cost && state_.spent.cost + call.price > *options.max_cost * (1 + 1e-9)) {
      end(NetworkError(describe(where(), fmt::format("at most {} to be spent (max_cost)", *options.max_cost),
                                fmt::format("{} spent, and the next answer costs {}", state_.spent.cost, call.price),
                                kNext)));
    }
    return ending_ != nullptr;
  }

  void settle(Incoming incoming) {
    Job& job = jobs_[incoming.id];
    if (incoming.outcome == Outcome::kAnswered && incoming.status >= 200 && incoming.status < 300) {
      return take(incoming.id, job, state_.key.removed_from(std::move(incoming.body)));
    }
    const std::string why =
        incoming.outcome == Outcome::kAnswered
            ? state_.key.removed_from(fmt::format("status {}: {}", incoming.status, excerpt(incoming.body)))
            : incoming.why;
    // An answer that was cut or came late may have been paid for; a refusal has not.
    const bool paid = incoming.outcome == Outcome::kCut || incoming.outcome == Outcome::kTimedOut;
    if (!paid && !job.watches) state_.spent.cost -= job.call->price;
    switch (incoming.outcome) {
      case Outcome::kRefused:
        return end(job, NetworkError(describe(where(job), "a connection that is safe", why)));
      case Outcome::kUnreachable:
        if (again(incoming.id, job, std::nullopt)) return;
        return end(job, NetworkError(describe(where(job), "a server that answers", why,
                                              "Start it, or correct the address; what was answered is kept")));
      case Outcome::kCut:
      case Outcome::kTimedOut:
        if (!again(incoming.id, job, std::nullopt)) fail(job, "a whole answer", why);
        return;
      case Outcome::kAnswered:
        break;
    }
    if (job.watches && (incoming.status == 404 || incoming.status == 410)) {  // the server knows nothing of it any more
      forget_work(job);
      if (!again(incoming.id, job, std::nullopt)) fail(job, "an answer", why);
      return;
    }
    if (!incoming.redirect.empty()) return redirect(incoming.id, job, incoming);
    if (incoming.status == 401 || incoming.status == 403) return end(job, no_access(job, why));
    if (incoming.status == 402 ||
        (incoming.status == 429 && incoming.body.find("insufficient_quota") != std::string::npos)) {
      return end(job, NetworkError(describe(where(job), "an account that may be charged", why)));
    }
    if (!is_passing(incoming.status)) {
      state_.answers.forget(job.key);
      job.result = Answer{incoming.status, state_.key.removed_from(std::move(incoming.body))};
      return;
    }
    const std::optional<Seconds> pause = retry_after(incoming.retry_after);
    if (pause && *pause > kLongestPause) {
      return end(job, NetworkError(describe(where(job), "an answer within an hour",
                                            fmt::format("a server that asks to wait {:.0f} s", pause->count()),
                                            "Start again then; what was answered is kept")));
    }
    if (again(incoming.id, job, pause)) {
      // Too many requests: the others would be too many as well.
      if (incoming.status == 429) state_.pace.pause_until(job.ready);
      return;
    }
    if (incoming.status == 429) {
      return end(job, NetworkError(describe(where(job), "a server that has time", why,
                                            "Ask more slowly (requests_per_second), or start again later")));
    }
    fail(job, "an answer", why);
  }

  // A whole body, unless the call says otherwise.
  void take(size_t id, Job& job, std::string body) {
    try {
      if (job.call->next) {
        if (const std::string path = job.call->next(body); !path.empty()) return watch(id, job, path);
      }
      job.call->check(body);
    } catch (const DataError& error) {
      const std::string why = error.what();
      forget_work(job);
      if (!again(id, job, std::nullopt)) fail(job, "a whole answer", why);
      return;
    }
    if (caches(job)) state_.answers.keep(job.key, body);
    job.result = Answer{200, std::move(body)};
  }

  // Looks later whether the work is done: soon, then less and less often.
  void watch(size_t id, Job& job, const std::string& path) {
    const Seconds delay(std::min(1.0, 0.02 * std::pow(1.3, static_cast<double>(job.glances++))));
    job.url = state_.endpoint.url + path;
    job.watches = true;
    job.ready = Clock::now() + std::chrono::duration_cast<Clock::duration>(delay);
    waiting_.push_back(id);
  }
  void forget_work(Job& job) const {
    job.url = state_.endpoint.url + job.call->path;
    job.watches = false;
    job.glances = 0;
  }

  // Puts the call back, later, unless it was sent often enough.
  bool again(size_t id, Job& job, std::optional<Seconds> pause) {
    if (ending_ || job.attempts >= state_.options.max_retries) return false;
    const Seconds delay = std::max(pause.value_or(Seconds(0)), state_.backoff.delay(job.attempts));
    job.ready = Clock::now() + std::chrono::duration_cast<Clock::duration>(delay);
    job.attempts += 1;
    state_.answers.forget(job.key);  // this time it ended
    state_.spent.repeated += 1;
    waiting_.push_back(id);
    return true;
  }

  // Followed where it stays on the server: elsewhere pictures and the key would go to who was not meant.
  void redirect(size_t id, Job& job, const Incoming& incoming) {
    const bool keeps_method = incoming.status == 307 || incoming.status == 308 || job.call->body.empty();
    if (origin(incoming.redirect) != origin(state_.endpoint.url) || !keeps_method || ++job.redirects > kMostRedirects) {
      const std::string to = state_.key.removed_from(incoming.redirect);
      return end(job, NetworkError(describe(where(job), "an answer", "a redirect to " + to,
                                            "It is not followed. If you trust it, give that address")));
    }
    job.url = incoming.redirect;
    waiting_.insert(waiting_.begin(), id);
  }

  NetworkError no_access(const Job& job, const std::string& why) const {
    const std::string variable = state_.key.empty() ? "" : state_.key.variable();
    return NetworkError(describe(where(job), "the right of access", why,
                                 variable.empty()
                                     ? "No key was sent: name the environment variable that holds one with "
                                       "api_key_variable"
                                     : "The key is the one in the environment variable " + variable));
  }

  void fail(Job& job, const std::string& expected, const std::string& got) {
    state_.answers.forget(job.key);
    const std::string times = job.attempts == 0 ? "" : fmt::format(" ({} times)", job.attempts + 1);
    job.result = Failure{describe(where(job), expected, got + times)};
  }

  // Nothing more is sent; what is on its way may come.
  void end(const NetworkError& error) {
    if (!ending_) ending_ = std::make_exception_ptr(error);
  }
  void end(const Job& job, const NetworkError& error) {
    state_.answers.forget(job.key);
    end(error);
  }

  std::string where() const { return state_.endpoint.url; }
  std::string where(const Job& job) const { return state_.endpoint.url + job.call->path; }

  State& state_;
  const Context& context_;
  std::vector<Job> jobs_;
  std::vector<size_t> waiting_;  // in the order in which they are sent
  std::exception_ptr ending_;
};

Client::Client(Endpoint endpoint, const WireOptions& options)
    : state_((check_options(options), std::make_unique<State>(std::move(endpoint), options))) {}
Client::~Client() = default;

std::vector<Result<Answer>> Client::ask(std::span<const Call> calls, const Context& context) {
  return Session(*state_, calls, context).run();
}

const Endpoint& Client::endpoint() const { return state_->endpoint; }
const Spent& Client::spent() const { return state_->spent; }

std::string Client::estimate(int64_t requests, double cost) const {
  std::string text = fmt::format("estimate: at most {} requests to {}", requests, state_->endpoint.spec());
  if (cost > 0) text += fmt::format(", cost {:.4g}", cost);
  return text + "; repeated ones come on top, answers that were there before count off";
}

std::string Client::sentence() const {
  const Spent& spent = state_->spent;
  if (spent.requests + spent.from_cache == 0) return "";
  std::string text = fmt::format("{}: {} requests, {} of them repeated; {} answers were there before",
                                 state_->endpoint.spec(), spent.requests, spent.repeated, spent.from_cache);
  if (spent.sent_before > 0) {
    text += fmt::format("; {} requests were on their way when an earlier start ended, and were sent again",
                        spent.sent_before);
  }
  if (spent.cost > 0) text += fmt::format("; cost {:.4g}", spent.cost);
  return text;
}

}  // namespace readback::wire
